"""Do verdicts hold when everything is drawn again? Known comparisons in the pocket world, each drawn many times.

    OMP_NUM_THREADS=1 nice python benchmarks/replication.py --results DIR [--draws 20]

The quickstart's models and data, somewhat smaller, with `draws`: in each draw the training, the data and the teachers
are made anew, and in each draw every training has three seeds. About three minutes a draw on one core; what is stopped
goes on when it is started again with the same DIR.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from _process import HARNESS

from harness.recipe.source import dump, read

ROOT = Path(__file__).parents[1]
NAME = "replication"
STEPS = {"strong": 340, "weak": 250, "student": 300}
"""Of each model's training."""
SEEDS = range(3)
NULL_SEEDS = range(3, 6)
"""Of SFT, for the comparison of SFT with itself."""
CELLS = {
    ("strong", "sft", "x1"): [*SEEDS, *NULL_SEEDS],
    ("strong", "kd", "x1"): [*SEEDS],
    ("strong", "sft", "x4"): [*SEEDS],
    ("weak", "sft", "x1"): [*SEEDS],
    ("strong", "dae0", "general"): [*SEEDS],
    ("strong", "dae10", "general"): [*SEEDS],
}
"""(teacher, method, data) -> seeds: the sweep."""
CHUNK = 4
"""Draws that are finished before the next are begun, so that what is there after a stop has every cell."""


def recipe(draws: int) -> dict[str, Any]:
    """The study as one recipe, from the quickstart's parts."""
    made: dict[str, Any] = dict(read(ROOT / "recipes/quickstart.yaml")[0].data)
    for name, steps in STEPS.items():
        made["models"][name]["train"][0]["sft"] |= {"max_steps": steps, "save_every": steps}
    how = {"max_steps": 100, "learning_rate": 4e-3, "warmup_steps": 10, "save_every": 100, "micro_batch_size": 32}
    align = {"expert": "artifact:strong", "targets": "cached", **how}
    axes = made["axes"]
    axes["method"] = [
        {"sft": {"sft": {"data": "teacher", **how}}},
        {"kd": {"kd": {"data": "teacher", **how}}},
        {"dae0": {"dae": {"ratio": 0.0, **align}}},
        {"dae10": {"dae": {"ratio": 0.1, **align}}},
    ]
    axes["data"] += [{"general": {"pocket": {"examples": 400, "seed": 4}}}]
    axes["seed"] = [*SEEDS, *NULL_SEEDS]
    labels = {axis: [next(iter(value)) for value in axes[axis]] for axis in ("teacher", "method", "data")}
    points = [
        (t, m, d, s) for t in labels["teacher"] for m in labels["method"] for d in labels["data"] for s in axes["seed"]
    ]
    pruned = [point for point in points if point[3] not in CELLS.get(point[:3], ())]
    made |= {
        "name": NAME,
        "draws": draws,
        "baselines": [],
        "data": {"train": "$data", "domain": {"pocket": {"examples": 200, "domain_ratio": 1.0, "seed": 5}}},
        "exclude": [dict(zip(("teacher", "method", "data", "seed"), point, strict=True)) for point in pruned],
        "teachers": {"scores": ["car"], "reward": {"program": True}},
    }
    return made


def run(results: Path, draws: int) -> None:
    """Run the recipe as far as it is not done."""
    results.mkdir(parents=True, exist_ok=True)
    for upto in [*range(CHUNK, draws, CHUNK), draws]:
        path = results / f"{NAME}.yaml"
        path.write_text(dump(recipe(upto)))
        words = ["run", str(path), "--jobs", "1", "--results", str(results)]
        subprocess.run([sys.executable, "-c", HARNESS, *words], check=True, stderr=subprocess.DEVNULL)


def main() -> None:
    """Run, and write what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="where its store and run lie, outside the tree")
    parser.add_argument("--draws", type=int, default=20)
    told = parser.parse_args()
    run(told.results, told.draws)


if __name__ == "__main__":
    main()
