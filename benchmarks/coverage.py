"""Do the intervals cover, and do the tests hold their level? Simulated experiments with a known truth.

    python benchmarks/coverage.py [--experiments 2000]

Writes results/reference/statistics/coverage.{md,csv}. Scores are drawn as seeds x questions x turns with the given
standard deviations (question 1, noise 0.7 per turn), rounded to whole points where it says so.
"""

import argparse
import csv
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.stats.bootstrap import bootstrap_ci
from harness.stats.intervals import mean_interval, paired_difference
from harness.stats.multiplicity import holm
from harness.stats.spread import Floats, Rows

OUT = Path(__file__).parents[1] / "results" / "reference" / "statistics"


@dataclass(frozen=True)
class Finding:
    """One line of the study: a structure, a method, and how often it was right."""

    structure: str
    method: str
    measure: str
    percent: float
    experiments: int


def replicates(rng: np.random.Generator, items: Floats, seeds: int, seed_sd: float, turns: int = 1) -> list[Rows]:
    """One group's scores: items are shared by its seeds, noise (sd 0.7) is every row's own."""
    clusters = np.repeat(np.arange(len(items)), turns)
    units = np.arange(len(clusters))
    rows = []
    for shift in rng.normal(size=seeds) * seed_sd:
        noise = rng.normal(size=len(clusters)) * 0.7
        rows.append(Rows(np.repeat(items, turns) + shift + noise, clusters, units))
    return rows


def flips(rng: np.random.Generator, items: int, share: float, turns: int) -> Rows:
    """Right or wrong answers, correlated within an item: each item has its own chance, beta distributed."""
    chance = rng.beta(share * 4, (1 - share) * 4, size=items)
    clusters = np.repeat(np.arange(items), turns)
    return Rows((rng.random(len(clusters)) < chance[clusters]).astype(float), clusters, np.arange(len(clusters)))


def covered(bounds: tuple[float | None, float | None] | None, truth: float) -> bool:
    """Is the truth inside? An interval that cannot be known covers nothing."""
    if bounds is None or bounds[0] is None or bounds[1] is None:
        return False
    return bounds[0] <= truth <= bounds[1]


def share_of(experiments: int, one: Callable[[np.random.Generator], bool], seed: int) -> float:
    """Percent of experiments in which `one` is true."""
    rng = np.random.default_rng(seed)
    return 100 * float(np.mean([one(rng) for _ in range(experiments)]))


def clustered_turns(experiments: int) -> Iterator[Finding]:
    """One seed, two turns per question: t against the bootstrap, at several numbers of questions."""
    for items in (10, 80):
        structure = f"{items} questions x 2 turns"

        def interval(rng: np.random.Generator, method: str, items: int = items) -> bool:
            rows = replicates(rng, rng.normal(size=items), 1, 0.0, turns=2)[0]
            if method == "clustered t":
                found = mean_interval([rows])
                return covered((found.low, found.high) if found else None, 0.0)
            if method == "rows as independent, 1.96":
                return bool(abs(rows.values.mean()) <= 1.96 * rows.values.std(ddof=1) / len(rows.values) ** 0.5)
            draw = bootstrap_ci(
                rows.clusters,
                lambda k: float(rows.values[k].mean()),
                seed=int(rng.integers(1 << 31)),
                resamples=400,
                bias_corrected=method == "BCa bootstrap",
            )
            return covered(draw, 0.0)

        for method in ("clustered t", "percentile bootstrap", "BCa bootstrap", "rows as independent, 1.96"):
            percent = share_of(experiments, lambda rng, m=method: interval(rng, m), seed=items)  # type: ignore[misc]
            yield Finding(structure, method, "coverage", percent, experiments)


def proportions(experiments: int) -> Iterator[Finding]:
    """Right-or-wrong scores, where the share is near an end."""
    for share in (0.5, 0.9, 0.97):
        for proportion, method in ((True, "Wilson, effective size"), (False, "clustered t")):

            def one(rng: np.random.Generator, share: float = share, proportion: bool = proportion) -> bool:
                found = mean_interval([flips(rng, 80, share, 2)], proportion=proportion)
                return covered((found.low, found.high) if found else None, share)

            percent = share_of(experiments, one, seed=int(share * 100))
            yield Finding(f"80 questions x 2 turns, {share:.0%} right", method, "coverage", percent, experiments)


def seeds_by_items(experiments: int) -> Iterator[Finding]:
    """Means over seeds x questions, for seed effects from none to as large as the questions'."""
    for seeds in (2, 3, 5):
        for seed_sd in (0.0, 0.1, 0.3, 1.0):

            def one(rng: np.random.Generator, seeds: int = seeds, seed_sd: float = seed_sd) -> bool:
                found = mean_interval(replicates(rng, rng.normal(size=80), seeds, seed_sd))
                return covered((found.low, found.high) if found else None, 0.0)

            percent = share_of(experiments, one, seed=seeds)
            yield Finding(
                f"{seeds} seeds (sd {seed_sd:g}) x 80 questions", "widest of three", "coverage", percent, experiments
            )


def differences(experiments: int) -> Iterator[Finding]:
    """Paired differences of two groups whose questions correlate 0.8."""
    for first, second, seed_sd in ((1, 1, 0.0), (3, 1, 0.3), (2, 2, 0.3), (3, 3, 0.0), (3, 3, 0.1), (3, 3, 0.3)):

        def one(rng: np.random.Generator, first: int = first, second: int = second, seed_sd: float = seed_sd) -> bool:
            shared = rng.normal(size=80)
            items = [0.8**0.5 * shared + 0.2**0.5 * rng.normal(size=80) for _ in range(2)]
            a = replicates(rng, items[0], first, seed_sd)
            # A baseline with one seed is an untrained model: it has no seed effect.
            b = replicates(rng, items[1], second, seed_sd if second > 1 else 0.0)
            found = paired_difference(a, b)
            return covered((found.low, found.high) if found else None, 0.0)

        structure = f"difference, {first} against {second} seeds (sd {seed_sd:g}) x 80 questions"
        percent = share_of(experiments, one, seed=10 * first + second)
        yield Finding(structure, "paired, widest of three", "coverage", percent, experiments)


def family(experiments: int, cells: int = 8) -> Iterator[Finding]:
    """Eight cells equal to their baseline: how often is at least one called different?"""
    for seeds in (1, 3):

        def p_values(rng: np.random.Generator, seeds: int = seeds) -> list[float | None]:
            seed_sd = 0.2 if seeds > 1 else 0.0
            shared = rng.normal(size=80)

            def group() -> list[Rows]:
                own = 0.8**0.5 * shared + 0.2**0.5 * rng.normal(size=80)
                return replicates(rng, own, seeds, seed_sd)

            baseline = group()
            found = [paired_difference(group(), baseline) for _ in range(cells)]
            return [f.p if f else None for f in found]

        rng = np.random.default_rng(seeds)
        drawn = [p_values(rng) for _ in range(experiments)]
        structure = f"{cells} equal cells against one baseline, {seeds} seed(s) x 80 questions"
        for method, adjust in (("uncorrected", list), ("Holm", holm)):
            false = np.mean([any(p is not None and p < 0.05 for p in adjust(ps)) for ps in drawn])
            yield Finding(structure, method, "any false positive", 100 * float(false), experiments)


def study(experiments: int) -> list[Finding]:
    """All of it."""
    parts = (clustered_turns, proportions, seeds_by_items, differences, family)
    return [finding for part in parts for finding in part(experiments)]


def write(findings: list[Finding], out: Path) -> None:
    """coverage.csv and coverage.md."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "coverage.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["structure", "method", "measure", "percent", "experiments"])
        writer.writerows([f.structure, f.method, f.measure, f"{f.percent:.2f}", f.experiments] for f in findings)
    experiments = findings[0].experiments
    error = 100 * (0.95 * 0.05 / experiments) ** 0.5
    lines = [
        "# Do the intervals cover?",
        "",
        f"{datetime.date.today().isoformat()}, {experiments} simulated experiments a line "
        f"(standard error {error:.1f} points at 95 %), by `python benchmarks/coverage.py`. Question sd 1, "
        "noise sd 0.7 a row, seed sd as given. Nominal: "
        "95 % coverage, at most 5 % with any false positive after correction.",
        "",
        "| structure | method | measure | % |",
        "|---|---|---|---:|",
        *(f"| {f.structure} | {f.method} | {f.measure} | {f.percent:.1f} |" for f in findings),
        "",
    ]
    (out / "coverage.md").write_text("\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2000)
    write(study(parser.parse_args().experiments), OUT)
    print((OUT / "coverage.md").read_text())
