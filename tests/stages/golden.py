"""A small plan with a stage of every kind, and what each stage puts out, as a fingerprint that all processors share.

`python -m tests.stages.golden` writes golden.json anew. It refuses to where a kind's output changed and its version did
not: then what is in somebody's store would be taken for what it no longer is.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.bench.mt_bench import MTBenchSettings
from harness.bench.nll import NLLSettings
from harness.bench.pocket import BENCHMARK as POCKET
from harness.bench.pocket import PocketSettings
from harness.core.canonical import digest
from harness.core.lines import write_lines
from harness.data.pocket import questions
from harness.data.settings import DatasetSettings
from harness.generate.api import Answer, GenerateSettings, ResponseSettings
from harness.judge.settings import JudgeSettings
from harness.models.settings import ModelSettings, MoESettings
from harness.stages import (
    answer,
    average,
    benchmarks,
    command,
    contamination,
    dataset,
    encode,
    judge,
    measure,
    mix,
    pick,
    respond,
    reward,
    reward_model,
    score,
    score_teacher,
    select,
    stored_answers,
    targets,
    tokens,
    train,
    upcycle,
    utilisation,
)
from harness.stages.api import Session, Stage
from harness.stages.model import weights
from harness.stages.registry import KINDS
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from harness.teachers.api import PASSES
from harness.teachers.settings import PassSettings, RewardSettings, TeachersSettings
from harness.train.job import TrainJob
from harness.train.settings import HeldOut, OptimSettings, SelectSettings
from harness.train.steps.command import CommandSettings
from harness.train.steps.kd import STEP as KD
from harness.train.steps.kd import KDSettings
from harness.train.steps.sft import STEP as SFT
from harness.train.steps.sft import SFTSettings
from tests.cli.judged import write_benchmark
from tests.stages.fingerprint import differences, fingerprint
from tests.stages.tiny_gguf import write_tiny_gguf

GOLDEN = Path(__file__).parent / "golden.json"
STUDENT = "pocket:llama?layers=1&width=16&heads=2&seed=1"
TEACHER = "pocket:llama?layers=1&width=32&heads=2&seed=2"
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }}\n{% endfor %}"
ROWS = [{"instruction": f"Say {k}.", "output": f"{k}"} for k in ("one", "two", "three", "four")]


def settings_of(cls: Any, **values: Any) -> Any:
    """Settings as a recipe's YAML gives them."""
    return cls.model_validate_json(json.dumps(values))


def half_right() -> list[Answer]:
    """Answers to the pocket suite: a model of this size has none right, and scores would all be zeros."""
    asked = POCKET.open(PocketSettings(questions=8), {}).questions
    turns = [(q.extra["references"][0], "no" if k % 3 else q.extra["references"][1]) for k, q in enumerate(asked)]
    return [Answer(q.id, said, ("stop", "stop"), (4, 2)) for q, said in zip(asked, turns, strict=True)]


def stages(folder: Path) -> dict[str, Stage]:
    """One stage of every kind (two where a kind has two faces), by a name of their own."""
    (folder / "rows.json").write_text(json.dumps(ROWS))
    values = [{"id": f"general-2-{k}#{c}", "value": (7 * k + 3 * c) % 5} for k in range(16) for c in range(2)]
    (folder / "rewards.json").write_text(json.dumps(values))
    (folder / "template.jinja").write_text(TEMPLATE)
    student = weights(ModelSettings(model=STUDENT), {})
    teacher = weights(ModelSettings(model=TEACHER), {})
    imported = weights(ModelSettings(model=f"gguf:{write_tiny_gguf(folder / 'tiny.gguf')}"), {})
    template = weights(settings_of(ModelSettings, model=STUDENT, chat_template=str(folder / "template.jinja")), {})
    data = dataset.stage(settings_of(DatasetSettings, path=str(folder / "rows.json"), limit=3), 5, "file")
    pocket = dataset.stage(settings_of(DatasetSettings, pocket={"examples": 16, "seed": 2}), 0, "pocket")
    generate = settings_of(GenerateSettings, dtype="float32", batch_size=4)
    responses = respond.stage(student, data, settings_of(ResponseSettings, max_new_tokens=4), generate, 3, 0)
    steps: dict[str, Any] = {"max_steps": 3, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-3}
    encoded = encode.stage(student.stage, student.part, pocket, 2048)
    learned = train.TrainData(pocket, [encoded])
    sft = train.stage(TrainJob(SFT, settings_of(SFTSettings, **steps), 7, "sft"), student, learned)
    choice = settings_of(SelectSettings, learning_rate=[1e-5, 1e-3], held_out=0.25)
    rates = [settings_of(SFTSettings, **steps | {"learning_rate": rate}) for rate in choice.learning_rate]
    jobs = [TrainJob(SFT, own, 7, "sft", (), [0.5, 1.0], HeldOut(0.25, 1)) for own in rates]
    tried = [train.stage(job, student, learned) for job in jobs]
    copied = settings_of(CommandSettings, run="cp -r {student} {out}")
    distilling = TrainJob(KD, settings_of(KDSettings, **steps), 7, "kd")
    kd = train.stage(distilling, student, learned, {"teacher": teacher})
    suite = benchmarks.pin("pocket", benchmarks.by_name("pocket").settings.model_validate_json('{"questions": 8}'))
    mt_bench = settings_of(MTBenchSettings, data=str(write_benchmark(folder / "mt_bench")), max_new_tokens=4)
    asked = benchmarks.pin("mt_bench", mt_bench)
    answers = answer.stage(suite, sft, generate, 11, 0)
    sampled = answer.stage(asked, student, generate, 11, 0)
    told = stored_answers.stage(Store(folder / "store"), half_right(), "answers, half of them right")
    verdicts = judge.program_stage(suite, told)
    right_or_wrong = score.stage(suite, told, {"": verdicts})
    leak = [{"instruction": item.turns[0].text, "output": "red"} for item in questions(8, 0)[::3]]
    (folder / "leak.json").write_text(json.dumps(leak))
    leaked = dataset.stage(settings_of(DatasetSettings, path=str(folder / "leak.json")), 0, "leak")
    model_judge = settings_of(JudgeSettings, model="gpt-4", base_url="http://127.0.0.1:9/v1")
    candidates = settings_of(ResponseSettings, max_new_tokens=4, temperature=1.0, candidates=2)
    several = respond.stage(student, pocket, candidates, generate, 3, 0)
    rewards = reward.stage(several, settings_of(RewardSettings, program=True), title="rewards")
    valued = settings_of(RewardSettings, recorded={"path": str(folder / "rewards.json"), "column": "value"})
    recorded = reward.stage(several, valued, title="recorded rewards")
    # its tokenizer has letters: to the pocket world's any two of these answers are the same, and nothing is learned
    pairs = [{"prompt": "Say it.", "chosen": row["output"], "rejected": "No."} for row in ROWS]
    write_lines(folder / "pairs.jsonl", pairs)
    reward_settings = settings_of(OptimSettings, max_steps=2, batch_size=2, micro_batch_size=2, learning_rate=1e-3)
    reward_trained = reward_model.stage(imported, folder / "pairs.jsonl", reward_settings, 5, 0)
    read = tokens.stage(student, pocket, PassSettings(), list(PASSES), 8, 1, 0, "tokens")
    right = reward.stage(pocket, settings_of(RewardSettings, program=True), title="rewards")
    scored = score_teacher.stage(read, pocket, right, settings_of(TeachersSettings, prompts=8), "scores")
    mixed = mix.stage(settings_of(SFTSettings, data="mix", ratio=0.25, examples=8), pocket, {"shop": leaked}, 0)
    held_out = {"shop": {"pocket": {"examples": 3, "domain_ratio": 1.0, "seed": 4}, "role": "domain"}}
    nll = benchmarks.pin("nll", settings_of(NLLSettings, sets=held_out))
    measured = measure.stage(nll, student, generate, 11, 0)
    by_prompts = settings_of(MoESettings, experts=2, per_token=1, router="hidden", prompts=["train", "prompts"])
    hidden = upcycle.stage(student, [], by_prompts, [pocket, data])
    return {
        "upcycle": upcycle.stage(student, [], settings_of(MoESettings, experts=3, router_seed=1)).stage,
        "upcycle, hidden": hidden.stage,
        "utilisation": utilisation.stage(suite, hidden, generate, 0),
        "measure": measured,
        "score, measured": score.measured_stage(nll, measured),
        "reward": rewards,
        "reward, recorded": recorded,
        "reward_model": reward_trained.stage,
        "pick": pick.stage(several, recorded, "best", "student"),
        "tokens": read,
        "score_teacher": scored,
        "pocket_model": student.stage,
        "import_model": imported.stage,
        "template": template.stage,
        "dataset": data,
        "dataset, pocket": pocket,
        "respond": responses,
        "mix": mixed,
        "encode": encoded,
        "targets": targets.stage(
            teacher, encode.stage(teacher.stage, teacher.part, pocket, 2048), settings_of(KDSettings, top_k=5), 0
        ),
        "train": sft.stage,
        "train, kd": kd.stage,
        "select": select.stage("sft", choice, tried, "sft").stage,
        "average": average.stage(tried[1], [0.5, 1.0]).stage,
        "command": command.stage(copied, student, pocket, 7, 0, "command").stage,
        "answer": answers,
        "answer, two turns": sampled,
        "judge": verdicts,
        "judge, model": judge.model_stage(asked, sampled, model_judge, None, 0),
        "score": right_or_wrong,
        "contamination": contamination.stage(leaked, suite),
    }


def version(stage: Stage) -> str:
    """The kind's and, where a benchmark says what is done, the benchmark's."""
    return ".".join(str(v) for v in (KINDS[stage.kind].version, stage.params.get("benchmark_version")) if v is not None)


def fingerprints(plan: Mapping[str, Stage], store: Store) -> dict[str, Any]:
    """Run them all in a store: name -> kind, version, id and what came out (no model is asked)."""
    found: dict[str, Any] = {}
    for name, stage in plan.items():
        own = stage.identity | {"inputs": sorted(stage.inputs)}  # a new version of an input's kind is no news here
        found[name] = {"kind": stage.kind, "version": version(stage), "asked": digest(own)}
        if name == "judge, model":
            continue
        for needed in (s for s in stage.walk() if not s.is_leaf):
            write_orders(store, [needed])
            run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
        found[name]["out"] = fingerprint(store.path(stage.id))
    return found


def changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of a stage is not as it was: `version`, `asked` (its id), files of its output."""
    own = [name for name in ("kind", "version", "asked") if was[name] != now[name]]
    return own + differences(was.get("out", {}), now.get("out", {}))


def main() -> int:
    """Write golden.json; a changed output without a raised version is refused."""
    old = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        new = fingerprints(stages(Path(folder)), Store(Path(folder) / "store"))
    for name, now in new.items():
        differing = changed(old.get(name, now), now)
        if differing and "version" not in differing:
            print(f"{name}: its version did not change, and these did: {', '.join(differing)}", file=sys.stderr)
            return 1
        if name in old and not differing:  # another processor's last bits are no news
            new[name] = old[name]
    GOLDEN.write_text(json.dumps(new, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
