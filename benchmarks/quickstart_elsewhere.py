"""Which of the quickstart's findings hold elsewhere: on other arithmetic, and with everything drawn anew.

    python benchmarks/quickstart_elsewhere.py [--runs 6] [--jobs 2]

Processors add up in other orders, and a training of a few hundred steps then ends elsewhere. PyTorch can be told which
instructions to use (`ATEN_CPU_CAPABILITY`), so one machine stands for several: the recipe runs as it is under each that
this processor has. Then it runs with every seed of models, data and trainings shifted: in each of its draws other
teachers, another student, other data; and other questions. Each run gives the two differences that its report compares;
some four minutes a run on two quiet cores.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from itertools import combinations
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
    known = ["avx2", "avx512"]
    return known[: known.index(best) + 1] if best in known else [best]


def shifted(node: Any, by: int) -> Any:
    """A recipe with all its seeds raised, those in model references too."""
    if isinstance(node, dict):
        return {k: v + by if k == "seed" and isinstance(v, int) else shifted(v, by) for k, v in node.items()}
    if isinstance(node, list):
        return [shifted(one, by) for one in node]
    if isinstance(node, str) and node.startswith("pocket:"):
        head, _, seed = node.rpartition("seed=")
        return f"{head}seed={int(seed) + by}"
    return node


def differences(run: int, capability: str, jobs: int) -> list[dict[str, Any]]:
    """A run's rows: what is compared, on which metric, the difference and its interval."""
    recipe = shifted(yaml.safe_load(RECIPE.read_text()), 100 * run)
    if run:
        recipe |= {"eval_seed": run, "data_seed": run, "seed": 100 * run}
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quickstart.yaml"
        path.write_text(yaml.safe_dump(recipe, sort_keys=False))
        words = [sys.executable, "-c", HARNESS]
        asked = ["run", str(path), "--jobs", str(jobs), "--results", folder]
        subprocess.run([*words, *asked], check=True, env=environment, capture_output=True)
        rows = []
        for question, (baseline, cell) in QUESTIONS.items():
            asked = ["compare", "quickstart", "--results", folder, "--baseline", baseline, "--format", "json"]
            found = json.loads(subprocess.run([*words, *asked], check=True, capture_output=True, text=True).stdout)
            rows += [{"question": question, **row} for row in found if row["cell"] == cell]
    return [{"run": run, "arithmetic": capability, **row} for row in rows]


def summary(frame: pd.DataFrame) -> str:
    """quickstart/README.md: a row a run, then how far apart the runs are and what they agree on."""
    lines = ["| run | arithmetic | question | metric | difference | in a new draw | verdict |"]
    lines.append("|---|---|---|---|---:|---:|---|")
    for row in frame.itertuples():
        interval = f"{row.difference:+.1f} [{row.difference_low:+.1f}, {row.difference_high:+.1f}]"
        new = f"{row.new_draw_low:+.1f} to {row.new_draw_high:+.1f}"
        lines.append(
            f"| {row.run} | {row.arithmetic} | {row.question} | {row.metric} | {interval} | {new} | {row.verdict} |"
        )
    lines += ["", "| question | metric | runs | smallest | mean | largest | sd | better | worse | runs apart |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for (question, metric), group in frame.groupby(["question", "metric"], sort=False):
        d, verdicts = group["difference"], group["verdict"]
        spread = f"{d.min():+.1f} | {d.mean():+.1f} | {d.max():+.1f} | {d.std():.1f}"
        called = f"{(verdicts == 'better').sum()} | {(verdicts == 'worse').sum()} | {_apart(group)}"
        lines.append(f"| {question} | {metric} | {len(d)} | {spread} | {called} |")
    return "\n".join(lines) + "\n"


def _apart(group: pd.DataFrame) -> str:
    """How many pairs of runs have intervals that do not touch."""
    pairs = list(combinations(group.itertuples(), 2))
    apart = sum(max(a.difference_low, b.difference_low) > min(a.difference_high, b.difference_high) for a, b in pairs)
    return f"{apart} of {len(pairs)}"


def main() -> None:
    """Run, and write the rows and their summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6, help="with everything drawn anew")
    parser.add_argument("--jobs", type=int, default=2)
    told = parser.parse_args()
    runs = [(0, name) for name in reversed(capabilities())]
    rows: list[dict[str, Any]] = []
    for run, capability in runs + [(run, capabilities()[-1]) for run in range(1, told.runs + 1)]:
        rows += differences(run, capability, told.jobs)
        print(summary(pd.DataFrame(rows[-4:])), flush=True)
        write(pd.DataFrame(rows))


def write(frame: pd.DataFrame) -> None:
    """Write the rows of all runs so far, and their summary."""
    OUT.mkdir(parents=True, exist_ok=True)
    frame.to_csv(OUT / "elsewhere.csv", index=False)
    runs, best = frame["run"].max(), torch.backends.cpu.get_cpu_capability()
    head = (
        "# The quickstart elsewhere\n\n"
        f"{datetime.date.today().isoformat()}, `python benchmarks/quickstart_elsewhere.py --runs {runs}`, "
        f"torch {torch.__version__}, {platform.machine()}, {best}. Run 0\nis the recipe as it ships, three "
        "draws of everything; in the others every seed of models, data and questions is another.\nDifferences in % "
        "correct, under the strong teacher. Two runs are apart where their intervals do not touch.\n\n"
    )
    (OUT / "README.md").write_text(head + summary(frame))


if __name__ == "__main__":
    main()
