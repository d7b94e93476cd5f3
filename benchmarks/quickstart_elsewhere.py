"""Which of the quickstart's findings hold elsewhere: on other arithmetic, and with everything drawn anew.

    python benchmarks/quickstart_elsewhere.py [--draws 4] [--jobs 2]

Processors add up in other orders, and a training of a few hundred steps then ends elsewhere. PyTorch can be told which
instructions to use (`ATEN_CPU_CAPABILITY`), so one machine stands for several: the recipe runs as it is under each that
this processor has. Then it runs with every seed of models and data shifted: other teachers, another student, other
data, other questions. Each run gives the two differences that its report compares; about three minutes a run on two
quiet cores.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from _process import HARNESS

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/quickstart.yaml"
OUT = ROOT / "results/reference/quickstart"
QUESTIONS = {"x4 against x1": ("data=x1", "strong · sft · x4"), "KD against SFT": ("method=sft", "strong · kd · x1")}
"""What is compared -> baseline and cell, both under the strong teacher."""


def capabilities() -> list[str]:
    """The instruction sets that PyTorch can use here, the plainest first."""
    best = torch.backends.cpu.get_cpu_capability().lower()
    known = ["default", "avx2", "avx512"]
    return known[: known.index(best) + 1] if best in known else [best]


def shifted(node: Any, by: int, key: str = "") -> Any:
    """A recipe with all its seeds raised, those in model references too; the axis `seed` stays."""
    if isinstance(node, dict):
        return {k: v if k == "axes" and not by else shifted(v, by, k) for k, v in node.items()}
    if isinstance(node, list):
        return node if key == "seed" else [shifted(one, by) for one in node]
    if key == "seed" and isinstance(node, int):
        return node + by
    if isinstance(node, str) and node.startswith("pocket:"):
        head, _, seed = node.rpartition("seed=")
        return f"{head}seed={int(seed) + by}"
    return node


def differences(draw: int, capability: str, jobs: int) -> list[dict[str, Any]]:
    """A run's rows: what is compared, on which metric, the difference and its interval."""
    recipe = shifted(yaml.safe_load(RECIPE.read_text()), 100 * draw)
    if draw:
        recipe |= {"eval_seed": draw, "data_seed": draw}
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quickstart.yaml"
        path.write_text(yaml.safe_dump(recipe, sort_keys=False))
        words = [sys.executable, "-c", HARNESS]
        run = ["run", str(path), "--jobs", str(jobs), "--results", folder]
        subprocess.run([*words, *run], check=True, env=environment, stderr=subprocess.DEVNULL)
        rows = []
        for question, (baseline, cell) in QUESTIONS.items():
            asked = ["compare", "quickstart", "--results", folder, "--baseline", baseline, "--format", "json"]
            found = json.loads(subprocess.run([*words, *asked], check=True, capture_output=True, text=True).stdout)
            rows += [{"question": question, **row} for row in found if row["cell"] == cell]
    return [{"draw": draw, "arithmetic": capability, **row} for row in rows]


def summary(frame: pd.DataFrame) -> str:
    """quickstart/README.md: a row a run, then how far apart the runs are."""
    lines = ["| draw | arithmetic | question | metric | difference | verdict |", "|---|---|---|---|---:|---|"]
    for row in frame.itertuples():
        interval = f"{row.difference:+.1f} [{row.difference_low:+.1f}, {row.difference_high:+.1f}]"
        lines.append(f"| {row.draw} | {row.arithmetic} | {row.question} | {row.metric} | {interval} | {row.verdict} |")
    lines += ["", "| question | metric | runs | smallest | mean | largest | sd |", "|---|---|---:|---:|---:|---:|---:|"]
    for (question, metric), group in frame.groupby(["question", "metric"], sort=False):
        d = group["difference"]
        spread = f"{d.min():+.1f} | {d.mean():+.1f} | {d.max():+.1f} | {d.std():.1f}"
        lines.append(f"| {question} | {metric} | {len(d)} | {spread} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, and write the rows and their summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4, help="runs with everything drawn anew")
    parser.add_argument("--jobs", type=int, default=2)
    told = parser.parse_args()
    runs = [(0, name) for name in capabilities()] + [(draw, capabilities()[-1]) for draw in range(1, told.draws + 1)]
    rows = []
    for draw, capability in runs:
        rows += differences(draw, capability, told.jobs)
        print(summary(pd.DataFrame(rows[-4:])), flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    frame.to_csv(OUT / "elsewhere.csv", index=False)
    head = (
        "# The quickstart elsewhere\n\n"
        f"{datetime.date.today().isoformat()}, `python benchmarks/quickstart_elsewhere.py --draws {told.draws}`, "
        f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}. Draw 0 is the "
        "recipe as it ships; in the others\nevery seed of models, data and questions is another. Differences in "
        "% correct, under the strong teacher.\n\n"
    )
    (OUT / "README.md").write_text(head + summary(frame))
    print(summary(frame))


if __name__ == "__main__":
    main()
