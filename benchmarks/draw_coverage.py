"""Do intervals over draws cover? Simulated methods without a true difference, in draws that both share.

    python benchmarks/draw_coverage.py [--experiments 2000]

Writes results/reference/statistics/draws.{md,csv}. Scores are in % correct, of 150 questions. How much draws, trainings
and questions differ is about what `results/reference/replication` shows.
"""

import argparse
import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.stats.intervals import Difference, paired_difference
from harness.stats.spread import Rows

OUT = Path(__file__).parents[1] / "results" / "reference" / "statistics"
SPREADS = {
    "teachers that differ much": (8.0, 1.0),
    "draws and trainings alike": (2.3, 1.9),
    "training alone": (0.0, 1.5),
    "questions alone": (0.0, 0.0),
}
"""What differs between draws -> standard deviations: of the difference between draws, of each training."""
COMMON, ITEM, HARD, ANSWER = 4.0, 12.0, 1.0, 21.0
"""Further standard deviations: of a draw on both methods alike (a better teacher helps both); of a question on the
difference; of a training on a question; of an answer."""
QUESTIONS = np.arange(150)
SIZES = ((1, 3), (2, 1), (3, 1), (3, 3), (5, 1), (5, 3), (10, 1))
"""Draws, and the seeds in each."""


@dataclass(frozen=True)
class Finding:
    """How often a method's interval held the truth."""

    differs: str
    draws: int
    seeds: int
    method: str
    percent: float


def drawn(rng: np.random.Generator, draws: int, seeds: int, sd: tuple[float, float]) -> tuple[list[Rows], list[Rows]]:
    """Two methods on the same questions in the same draws."""
    of_draw, of_training = sd
    items, size = rng.normal(size=len(QUESTIONS)) * ITEM, len(QUESTIONS)
    first: list[Rows] = []
    second: list[Rows] = []
    for draw in range(draws):
        both, gain = rng.normal() * COMMON, rng.normal() * of_draw
        for group, shift in ((first, both + gain + items / 2), (second, both - items / 2)):
            for _ in range(seeds):
                own = rng.normal() * of_training + rng.normal(size=size) * HARD + rng.normal(size=size) * ANSWER
                group.append(Rows(shift + own, QUESTIONS, QUESTIONS, str(draw)))
    return first, second


def holds_zero(found: Difference | None) -> bool:
    """Whether the interval holds the truth; an interval that is not known holds nothing."""
    return found is not None and found.low is not None and found.high is not None and found.low <= 0 <= found.high


def over_draws(experiments: int, differs: str, draws: int, seeds: int) -> Iterator[Finding]:
    """Paired by draw, and with the draws taken as unpaired; of a single draw its seeds."""
    rng = np.random.default_rng(10 * draws + seeds)
    paired, apart = [], []
    for _ in range(experiments):
        first, second = drawn(rng, draws, seeds, SPREADS[differs])
        paired.append(holds_zero(paired_difference(first, second)))
        others = [replace(rows, draw=f"other {rows.draw}") for rows in second]
        apart.append(holds_zero(paired_difference(first, others)) if draws > 1 else False)
    name = "paired by draw" if draws > 1 else "seeds of a single draw"
    yield Finding(differs, draws, seeds, name, 100 * float(np.mean(paired)))
    if draws > 1:
        yield Finding(differs, draws, seeds, "draws unpaired", 100 * float(np.mean(apart)))


def new_draw(experiments: int, differs: str, draws: int) -> Finding:
    """Does the difference of a further draw lie where it is expected?"""
    rng, held = np.random.default_rng(draws), []
    for _ in range(experiments):
        first, second = drawn(rng, draws + 1, 1, SPREADS[differs])
        found = paired_difference(first[:-1], second[:-1])
        low, high = (found.new_draw if found else None) or (np.inf, -np.inf)
        held.append(low <= first[-1].values.mean() - second[-1].values.mean() <= high)
    return Finding(differs, draws, 1, "a new draw", 100 * float(np.mean(held)))


def study(experiments: int) -> list[Finding]:
    """All of it."""
    found = [f for differs in SPREADS for size in SIZES for f in over_draws(experiments, differs, *size)]
    return found + [new_draw(experiments, differs, draws) for differs in SPREADS for draws in (3, 5, 10)]


def write(findings: list[Finding], experiments: int) -> None:
    """draws.csv and draws.md."""
    OUT.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(findings)
    frame.to_csv(OUT / "draws.csv", index=False)
    wide = frame.pivot_table(index=["draws", "seeds", "method"], columns="differs", values="percent")[list(SPREADS)]
    date, error = datetime.date.today().isoformat(), 100 * (0.95 * 0.05 / experiments) ** 0.5
    lines = [
        "# Do intervals over draws cover?",
        "",
        f"{date}, `python benchmarks/draw_coverage.py --experiments {experiments}`: so many simulated experiments a",
        f"number, whose standard error is {error:.1f} points at 95 %.",
        "Coverage of 95 % intervals, in %. 'Seeds of a single draw' is held against the mean over draws, which is what",
        "it is read for. What differs between draws, as standard deviations in % correct (of the difference between",
        "draws; of a training): " + "; ".join(f"{name} {of[0]:g}, {of[1]:g}" for name, of in SPREADS.items()) + ".",
        "",
        "| draws | seeds in each | method | " + " | ".join(SPREADS) + " |",
        "|---:|---:|---|" + "---:|" * len(SPREADS),
    ]
    for (draws, seeds, method), row in wide.iterrows():
        lines.append(f"| {draws} | {seeds} | {method} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
    (OUT / "draws.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000)
    told = parser.parse_args()
    write(study(told.experiments), told.experiments)
    print((OUT / "draws.md").read_text())
