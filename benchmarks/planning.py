"""What planning a large sweep takes: seconds and peak memory of `harness plan`, in fresh processes.

    python benchmarks/planning.py [--cells 10000] [--repeats 3]

The sweep: pocket students as they are or as one of three mixtures of experts, distilled from ten pocket teachers (KD
from stored targets), then aligned at ten shares of domain data (DAE), with as many seeds as it takes (25 for 10,000
cells); each cell on the pocket suite, on held-out likelihood and on an MT-Bench of two questions, which a model judges.
On a finished store every stage has an artifact, with a record as `Store.commit` writes it and little else, and
its run in the ledger; plan, run.json and an empty report.html say that the run is over.
Beside the command, in processes of their own: writing the plan, as `harness run` does, `harness status` of it, and
`harness run` of what is finished. Each goal is a line of the table; the goals are those of 10,000 cells and of 500.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from _process import HARNESS, Used, measured

GOALS = {10_000: ("5 s, 300 MB", "3 s", "4 s"), 500: ("1.5 s", "1.5 s", "1.5 s")}
"""Cells -> the goals of `plan`, `status` and a `run` with nothing to do."""
SHAPE = {"teacher": 10, "domain_ratio": 10, "architecture": 4}
"""Values on each axis beside `seed`."""
WRITE = """
import sys
from pathlib import Path
from harness.plan.build import build
from harness.record.folder import run_folder, write_plan
from harness.recipe.load import load
plan = build(load(Path(sys.argv[1])))
plan.stages
import time
began = time.perf_counter()
write_plan(run_folder(Path(sys.argv[2]), plan.recipe.name), plan, 0)
print(time.perf_counter() - began)
"""
FILL = """
import sys
from pathlib import Path
from harness.plan.build import build
from harness.recipe.load import load
from harness.store.ledger import Ledger
from harness.store.provenance import hardware
from harness.store.store import RECORD, Store
import hashlib, json
from dataclasses import fields
from harness.record.folder import run_folder
from harness.record.judges import judges
from harness.record.run import RunRecord, StageCounts, write_run
results = Path(sys.argv[2])
plan, store = build(load(Path(sys.argv[1]))), Store(results / "store")
nothing = {"tasks.jsonl": hashlib.sha256().hexdigest()}
provenance = {"seconds": 2.0, "hardware": hardware()}
for stage in plan.stages.values():
    store.path(stage.id).mkdir(exist_ok=True)
    files = nothing if stage.kind == "judge" else {}
    for name in files:
        (store.path(stage.id) / name).touch()
    record = {"id": stage.id, "identity": stage.identity, "files": files, "provenance": provenance}
    (store.path(stage.id) / RECORD).write_text(json.dumps(record))
facts = dict.fromkeys((field.name for field in fields(RunRecord)), ()) | {"judges": judges(plan, store)}
facts |= dict.fromkeys(("name", "description", "created", "command"), "")
facts |= dict.fromkeys(("versions", "hardware", "git", "axes"), {}) | {"stages": StageCounts(0, 0, 0, 0.0)}
folder = run_folder(results, plan.recipe.name)
write_run(folder.record, RunRecord(**facts))
folder.report.touch()
with Ledger(store.ledger) as ledger, ledger.transaction() as db:
    insert = "INSERT INTO stage_runs (stage, kind, run, pid, host, started, ended, status, error)"
    times = "'2026-01-01T00:00:00+00:00', '2026-01-01T00:00:02+00:00'"
    values = f" VALUES (?, ?, 'planning', 1, 'here', {times}, 'built', '')"
    db.executemany(insert + values, [(stage.id, stage.kind) for stage in plan.stages.values()])
"""
RECIPE = """\
name: planning
student: {{model: "pocket:llama?layers=1&width=16&heads=2&seed=1", architecture: $architecture}}
teacher: {{model: $teacher}}
data:
  train: {{pocket: {{examples: 64, seed: 1}}}}
  domain: {{pocket: {{examples: 64, domain_ratio: 1.0, seed: 2}}}}
train:
  - kd: {{targets: cached, epochs: 1}}
  - dae: {{expert: "pocket:llama?layers=1&width=32&seed=3", ratio: $domain_ratio, targets: cached, epochs: 1}}
seed: $seed
axes:
  teacher: [{teachers}]
  domain_ratio: [{ratios}]
  architecture: [dense, {mixtures}]
  seed: [{seeds}]
evaluate:
  - pocket: {{questions: 16}}
  - nll: {{sets: {{shop: {{pocket: {{examples: 16, seed: 3}}}}}}}}
  - mt_bench: {{data: {mt_bench}, max_new_tokens: 16}}
judge: {{model: gpt-4, base_url: "http://127.0.0.1:9/v1", api_key_env: NO_KEY}}
"""


def write_recipe(folder: Path, cells: int) -> Path:
    """The sweep's recipe, and the files that it names."""
    others = SHAPE["teacher"] * SHAPE["domain_ratio"] * SHAPE["architecture"]
    if cells % others:
        raise SystemExit(f"--cells must be a multiple of {others}")
    _mt_bench(folder / "mt_bench")
    text = RECIPE.format(
        teachers=", ".join(
            f'{{t{k}: "pocket:llama?layers=1&width=32&seed={k}"}}' for k in range(10, 10 + SHAPE["teacher"])
        ),
        ratios=", ".join(f"{k / 20:g}" for k in range(SHAPE["domain_ratio"])),
        mixtures=", ".join(f"{{moe{k}: {{experts: {k}, per_token: 2}}}}" for k in range(2, 1 + SHAPE["architecture"])),
        seeds=", ".join(map(str, range(cells // others))),
        mt_bench=folder / "mt_bench",
    )
    path = folder / "planning.yaml"
    path.write_text(text)
    return path


def _mt_bench(folder: Path) -> None:
    (folder / "reference_answer").mkdir(parents=True)
    names = ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
    first, second = "{question} {answer}", "{question_1} {answer_1} {question_2} {answer_2}"
    templates = (first, first + " {ref_answer_1}", second, second + " {ref_answer_1} {ref_answer_2}")
    prompts = [
        {"name": name, "system_prompt": "Rate.", "prompt_template": text}
        for name, text in zip(names, templates, strict=True)
    ]
    questions = [{"question_id": k, "category": "writing", "turns": ["Write.", "Again."]} for k in (81, 82)]
    for name, rows in (("question", questions), ("judge_prompts", prompts), ("reference_answer/gpt-4", [])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(what: str, goal: str, runs: list[Used]) -> str:
    """A line of the table: medians."""
    wall, cpu, mb = (statistics.median(one) for one in zip(*((u.wall, u.cpu, u.mb) for u in runs), strict=True))
    return f"| {what} | {wall:.1f} | {cpu:.1f} | {mb:,.0f} | {goal} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        recipe, results = str(write_recipe(Path(place), given.cells)), str(Path(place) / "results")
        plan = ["plan", recipe, "--results", results, "--format", "json"]
        empty = [measured(HARNESS, *plan) for _ in range(given.repeats)]
        total = json.loads(empty[0].text)[-1]
        written = [measured(WRITE, recipe, results) for _ in range(given.repeats)]
        status = [measured(HARNESS, "status", "planning", "--results", results) for _ in range(given.repeats)]
        measured(FILL, recipe, results)
        filled = [measured(HARNESS, *plan) for _ in range(given.repeats)]
        assert json.loads(filled[0].text)[-1]["to run"] == 0, "the store was filled"
        done = [measured(HARNESS, "status", "planning", "--results", results) for _ in range(given.repeats)]
        again = [measured(HARNESS, "run", recipe, "--results", results, quiet=True) for _ in range(given.repeats)]
        sizes = {path.name: path.stat().st_size / 1e6 for path in (Path(results) / "runs/planning").iterdir()}
    to_plan, to_look, to_run = GOALS.get(given.cells, ("", "", ""))
    print(f"{given.cells:,} cells, {total['asked']:,} stages asked, {total['unique']:,} unique\n")
    print("| command | wall s | CPU s | peak MB | goal |\n| --- | --: | --: | --: | --- |")
    print(row("`harness plan`", to_plan, empty))
    print(row("`harness plan` on a finished store", to_plan, filled))
    print(row("planning and writing the plan", "", written))
    print(row("`harness status` of the run, nothing done", to_look, status))
    print(row("`harness status` of the run, all done", to_look, done))
    print(row("`harness run` again, nothing to do", to_run, again))
    alone = statistics.median(float(run.text) for run in written)
    files = ", ".join(f"{name} {sizes[name]:.1f} MB" for name in ("plan.json", "stages.parquet"))
    print(f"\nThe plan as files: {files}; {alone:.1f} s to write them (of the third row).")


if __name__ == "__main__":
    main()
