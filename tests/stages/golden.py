"""A small plan with a stage of every kind, and what each stage puts out, as a fingerprint that another CPU shares.

`python -m tests.stages.golden` writes golden.json anew. It refuses to where a kind's output changed and its version did
not: then what is in somebody's store would be taken for what it no longer is.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from harness.bench.mt_bench import MTBenchSettings
from harness.core.canonical import digest
from harness.core.lines import read_lines
from harness.data.settings import DatasetSettings
from harness.generate.api import GenerateSettings, ResponseSettings
from harness.judge.settings import JudgeSettings
from harness.models.settings import ModelSettings
from harness.stages import answer, benchmark, dataset, judge, respond, score, train
from harness.stages.api import Session, Stage
from harness.stages.model import weights
from harness.stages.registry import KINDS
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import RECORD, Store
from harness.train.steps.kd import KDSettings
from harness.train.steps.sft import SFTSettings
from tests.cli.judged import write_benchmark
from tests.stages.tiny_gguf import write_tiny_gguf

GOLDEN = Path(__file__).parent / "golden.json"
STUDENT = "pocket:llama?layers=1&width=16&heads=2&seed=1"
TEACHER = "pocket:llama?layers=1&width=32&heads=2&seed=2"
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }}\n{% endfor %}"
ROWS = [{"instruction": f"Say {k}.", "output": f"{k}"} for k in ("one", "two", "three", "four")]
_PASSING = {"transformers_version"}
"""What a new release of a dependency writes into a file, and a stage does not."""


def settings_of(cls: Any, **values: Any) -> Any:
    """Settings as a recipe's YAML gives them."""
    return cls.model_validate_json(json.dumps(values))


def stages(folder: Path) -> dict[str, Stage]:
    """One stage of every kind (two where a kind has two faces), by a name of their own."""
    (folder / "rows.json").write_text(json.dumps(ROWS))
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
    sft = train.stage("sft", settings_of(SFTSettings, **steps), student, pocket, None, 7, 0, "sft")
    kd = train.stage("kd", settings_of(KDSettings, **steps), student, pocket, teacher, 7, 0, "kd")
    suite = benchmark.asked("pocket", benchmark.by_name("pocket").settings.model_validate_json('{"questions": 8}'))
    mt_bench = settings_of(MTBenchSettings, data=str(write_benchmark(folder / "mt_bench")), max_new_tokens=4)
    asked = benchmark.asked("mt_bench", mt_bench)
    answers = answer.stage(suite, sft, generate, 11, 0)
    sampled = answer.stage(asked, student, generate, 11, 0)
    verdicts = judge.program_stage(suite, answers)
    model_judge = settings_of(JudgeSettings, model="gpt-4", base_url="http://127.0.0.1:9/v1")
    return {
        "pocket_model": student.stage,
        "import_model": imported.stage,
        "template": template.stage,
        "dataset": data,
        "dataset, pocket": pocket,
        "respond": responses,
        "train": sft.stage,
        "train, kd": kd.stage,
        "answer": answers,
        "answer, two turns": sampled,
        "judge": verdicts,
        "judge, model": judge.model_stage(asked, sampled, model_judge, None, 0),
        "score": score.stage(suite, answers, verdicts),
    }


def fingerprints(folder: Path) -> dict[str, Any]:
    """Run them all in a store under `folder`: name -> kind, version, id and what came out (no model is asked)."""
    store, found = Store(folder / "store"), {}
    for name, stage in stages(folder).items():
        own = stage.identity | {"inputs": sorted(stage.inputs)}  # a new version of an input's kind is no news here
        found[name] = {"kind": stage.kind, "version": KINDS[stage.kind].version, "asked": digest(own)}
        if name == "judge, model":
            continue
        for needed in (s for s in stage.walk() if not s.is_leaf):
            write_orders(store, [needed])
            run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
        found[name]["out"] = fingerprint(store.path(stage.id))
    return found


def fingerprint(folder: Path) -> dict[str, Any]:
    """Every file of an artifact by name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD)
    return {p.relative_to(folder).as_posix(): _file(p) for p in files}


def _file(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _weights(path)
    if path.suffix == ".parquet":
        return digest(pd.read_parquet(path).to_csv(index=False))
    if path.name in ("log.jsonl", "training.json"):
        return [json.loads(path.read_text())] if path.suffix == ".json" else list(read_lines(path))
    if path.suffix == ".json":
        return digest({k: v for k, v in json.loads(path.read_text()).items() if k not in _PASSING})
    return digest(path.read_text())


def _weights(path: Path) -> dict[str, Any]:
    """Names and shapes, and the mean and mean absolute value of each tensor."""
    from safetensors.torch import load_file

    tensors = sorted(load_file(path).items())
    shapes = {name: list(t.shape) for name, t in tensors}
    return {
        "shapes": digest(shapes),
        "mean": [t.double().mean().item() for _, t in tensors],
        "size": [t.double().abs().mean().item() for _, t in tensors],
    }


def main() -> int:
    """Write golden.json; a changed output without a raised version is refused."""
    old = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        new = fingerprints(Path(folder))
    for name, now in new.items():
        was = old.get(name, now)
        if was != now and was["version"] == now["version"]:
            print(f"{name}: its output or identity changed and its version did not", file=sys.stderr)
            return 1
    GOLDEN.write_text(json.dumps(new, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
