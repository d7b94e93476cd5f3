"""What the harness adds to the work it is asked to do: per stage, per command, per sweep.

    python benchmarks/overhead.py [--repeats 5] [--only stages commands sweep]

Medians over fresh processes.

stages   A stage that does next to nothing, from its start to its committed artifact, through the local executor and a
         store on this disk: the time of N stages less that of one, over N - 1. `dataset` draws one pocket example in a
         worker process of its own; `contamination` looks for eight prompts in it, in a thread of the driver.
commands Start to end of a command. The re-run finds a sweep of 500 trained and judged cells finished. They were not
         computed: every stage of the plan has an artifact that went through Store.commit with one small file in it, and
         plan.json, run.json and an empty report.html say that the run is over. The command reads and checks all of it
         as after a real run.
sweep    A sweep that is small (a trained teacher, SFT and KD, two seeds) run whole, report included: wall seconds times
         jobs over the sum of what its stages themselves took. It falls towards 1 as stages take longer.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from _process import HARNESS, SPENT, measured

STAGES, CELLS = 50, 500
EXECUTE = f"""{SPENT}
import sys, time
from pathlib import Path
import harness.cli
from harness.data.settings import DatasetSettings, PocketData
from harness.run.execute import execute
from harness.stages import benchmarks, contamination, dataset
from harness.store.store import Store

def run(stages):
    began, before = time.perf_counter(), spent()
    stages = {{stage.id: stage for stage in stages}}
    done = execute(stages, store, run="overhead", jobs=1, gpus=[], listen=lambda event: None)
    assert len(done.built) == len(stages), done
    return time.perf_counter() - began, spent() - before

if __name__ == "__main__":
    store, kind, count = Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    pocket = benchmarks.pin("pocket", benchmarks.by_name("pocket").settings(questions=8))
    data = [dataset.stage(DatasetSettings(pocket=PocketData(examples=1, seed=k)), 0, str(k)) for k in range(count)]
    took = run(data)
    if kind == "contamination":
        took = run([contamination.stage(one, pocket) for one in data])
    print(*took)
"""
FILL = """
import json, sys
from dataclasses import fields
from pathlib import Path
from harness.core.canonical import digest
from harness.plan.build import build
from harness.record.judges import judges
from harness.record.folder import run_folder, write_plan
from harness.record.run import RunRecord, StageCounts, write_run
from harness.recipe.load import load
from harness.store.store import Store
results = Path(sys.argv[2])
plan, store = build(load(Path(sys.argv[1]))), Store(results / "store")
clean = {"benchmark": "pocket", "n": 13, "prompts": 0, "exact": 0, "ngram": 0, "shared": 0, "examples": []}
for stage in plan.stages.values():
    name = "contamination.json" if stage.kind == "contamination" else "made_up.json"
    (store.out(stage.id) / name).write_text(json.dumps(clean))
    store.commit(stage.id, stage.identity, {"seconds": 1.0, "title": stage.title, "execution": dict(stage.execution)})
folder = run_folder(results, plan.recipe.name)
write_plan(folder, plan, 0)
facts = dict.fromkeys((field.name for field in fields(RunRecord)), ()) | {"judges": judges(plan, store)}
facts |= dict.fromkeys(("name", "description", "created", "command"), "")
facts |= dict.fromkeys(("versions", "hardware", "git", "axes"), {}) | {"stages": StageCounts(0, 0, 0, 0.0)}
write_run(folder.record, RunRecord(**facts))
folder.report.touch()
print(len(plan.cells), len(plan.stages))
"""
RUN = f"""{SPENT}
from harness.cli import main
try:
    main()
finally:
    print("spent", spent())
"""
SECONDS = """
import sys
from pathlib import Path
from harness.store.store import Store
store = Store(Path(sys.argv[1]) / "store")
print(sum(store.record(path.name)["provenance"]["seconds"] for path in store.artifacts.iterdir()))
"""
FINISHED = f"""\
name: finished
student: "pocket:llama?layers=1&width=16&heads=2&seed=1"
data: {{train: $data}}
train: [{{sft: {{learning_rate: $rate, max_steps: 1}}}}]
seed: $seed
axes:
  data: [{{a: {{pocket: {{examples: 64, seed: 1}}}}}}, {{b: {{pocket: {{examples: 64, seed: 2}}}}}}]
  rate: [1e-3, 2e-3, 3e-3, 4e-3, 5e-3]
  seed: [{", ".join(map(str, range(CELLS // 10)))}]
evaluate: [{{pocket: {{questions: 16}}}}]
"""
SWEEP = """\
name: sweep
student: "pocket:llama?layers=2&width=48&seed=3"
teacher: {{model: "artifact:teacher", responses: {{max_new_tokens: 16}}}}
models:
  teacher:
    base: "pocket:llama?layers=2&width=64&seed=1"
    data: {{train: {{pocket: {{examples: 4000, seed: 1}}}}}}
    train: [{{sft: {{max_steps: {steps}, batch_size: 32, micro_batch_size: 32, learning_rate: 4e-3}}}}]
data: {{train: {{pocket: {{examples: 400, seed: 2}}}}}}
axes:
  method:
    - sft: {{sft: {{data: teacher, max_steps: {steps}, learning_rate: 3e-3, micro_batch_size: 16, batch_size: 16}}}}
    - kd: {{kd: {{data: teacher, max_steps: {steps}, learning_rate: 3e-3, micro_batch_size: 16, batch_size: 16}}}}
  seed: [0, 1]
train: [$method]
seed: $seed
evaluate: [{{pocket: {{questions: 80}}}}]
"""


def stages(folder: Path, repeats: int) -> list[str]:
    """Rows on a stage that does next to nothing."""
    rows = []
    script = folder / "execute.py"  # workers import the main module, which must be a file
    script.write_text(EXECUTE)  # it imports harness.cli, as the main module of the command does, and so do workers
    code = f"import runpy, sys; sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r}, run_name='__main__')"
    for kind, where in (("dataset", "a worker process"), ("contamination", "a thread of the driver")):
        taken: dict[int, list[list[float]]] = {1: [], STAGES: []}
        for turn in range(repeats):
            for count, runs in taken.items():
                text = measured(code, str(folder / f"{kind}-{count}-{turn}"), kind, str(count)).text
                runs.append([float(seconds) for seconds in text.split()])
        one, many = ([statistics.median(part) for part in zip(*runs, strict=True)] for runs in taken.values())
        wall, cpu = (1000 * (of_many - of_one) / (STAGES - 1) for of_one, of_many in zip(one, many, strict=True))
        rows.append(f"| `{kind}` stage in {where}, start to artifact | {wall:.0f} ms | {cpu:.0f} ms | < 150 ms |")
    return rows


def commands(folder: Path, repeats: int) -> list[str]:
    """Rows on start-up and on finding that nothing is to do."""
    recipe, results = folder / "finished.yaml", folder / "finished"
    recipe.write_text(FINISHED)
    cells, count = measured(FILL, str(recipe), str(results)).text.split()
    again = ["run", str(recipe), "--results", str(results)]
    rerun = f"`harness run` again: {cells} cells, {int(count):,} stages, all done"
    told = {"`harness --help`": ["--help"], "`harness run --help`": ["run", "--help"], rerun: again}
    rows = []
    for what, words in told.items():
        runs = [measured(HARNESS, *words, quiet=True) for _ in range(repeats)]
        wall, cpu = statistics.median(r.wall for r in runs), statistics.median(r.cpu for r in runs)
        rows.append(f"| {what} | {wall:.2f} s | {cpu:.2f} s | {'< 3 s' if words is again else '< 0.3 s'} |")
    record = json.loads((results / "runs" / "finished" / "run.json").read_text())
    assert list(record) == ["judges"], "a re-run that finds all done writes nothing"
    return rows


def sweep(folder: Path, repeats: int, steps: int) -> list[str]:
    """Rows on a small sweep, whole."""
    recipe, rows = folder / "sweep.yaml", []
    recipe.write_text(SWEEP.format(steps=steps))
    for jobs in (1, 2):
        ratios, walls, works, cpus = [], [], [], []
        for turn in range(repeats):
            results = str(folder / f"sweep-{jobs}-{turn}")
            run = measured(RUN, "run", str(recipe), "--results", results, "--jobs", str(jobs), quiet=True)
            works.append(float(measured(SECONDS, results).text))
            walls.append(run.wall)
            cpus.append(float(run.text.split()[-1]))
            ratios.append(run.wall * jobs / works[-1])
        wall, work = statistics.median(walls), statistics.median(works)
        what = f"sweep with --jobs {jobs}: {wall:.1f} s x {jobs} over {work:.1f} s of its stages"
        rows.append(f"| {what} | {statistics.median(ratios):.2f} | {statistics.median(cpus):.1f} s | towards 1 |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=("stages", "commands", "sweep"), default=None)
    parser.add_argument("--steps", type=int, default=200, help="of each training of the sweep")
    given = parser.parse_args()
    wanted = given.only or ("stages", "commands", "sweep")
    rows: list[str] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        folder = Path(place)
        if "stages" in wanted:
            rows += stages(folder, given.repeats)
        if "commands" in wanted:
            rows += commands(folder, given.repeats)
        if "sweep" in wanted:
            rows += sweep(folder, given.repeats, given.steps)
    print("| what | wall | CPU | goal |\n| --- | --: | --: | --- |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
