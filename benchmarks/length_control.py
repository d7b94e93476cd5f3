"""Is the error of a length-controlled win rate right, and what does pairing bring? On recorded verdicts.

    python benchmarks/length_control.py --data DIR [--experiments 300] [--low]

DIR is a folder with AlpacaEval's verdicts on several models, `gpt4_turbo_annotations_compact.parquet` (index, model,
preference 1..2, len_1 of the baseline's answer, len_2 of the model's). Writes results/reference/statistics/
length_control.md: our error beside a bootstrap that refits the length model, paired beside unpaired differences, and
how often intervals from instructions drawn at random hold the rate over all of them. With --low it writes
length_control_low.md alone: the same for weak models on 50 instructions, by the t interval and by ours.
"""

import argparse
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from harness.bench.alpaca_eval.length_control import (
    GAMED_WEIGHT,
    STAND_IN,
    Reference,
    contributions,
    read_reference,
    refit,
)
from harness.stats.intervals import mean_interval, paired_difference
from harness.stats.spread import Floats, Rows

OUT = Path(__file__).parents[1] / "results/reference/statistics/length_control.md"
FILE = "gpt4_turbo_annotations_compact.parquet"
LOW = OUT.with_name("length_control_low.md")
WEAK = ("pythia-12b-mix-sft", "vicuna-7b")
SIZES = (50, 200)
UNREGULARISED = 1e4
"""The bootstrap's penalty, the weakest of those that cross-validation picks from."""


@dataclass(frozen=True)
class Verdicts:
    """One model's, by instruction: three arrays (instructions,)."""

    preference: Floats
    delta: Floats
    index: np.ndarray

    def drawn(self, rows: np.ndarray) -> "Verdicts":
        """Those of some instructions."""
        return Verdicts(self.preference[rows], self.delta[rows], self.index[rows])


def read(path: Path) -> dict[str, Verdicts]:
    """The models but the baseline, weakest first, each on all instructions in one order."""
    frame = pd.read_parquet(path).sort_values("index")
    found = {
        str(model): Verdicts(
            own["preference"].to_numpy(dtype=float) - 1,
            (own["len_1"] - own["len_2"]).to_numpy(dtype=float),
            own["index"].to_numpy(),
        )
        for model, own in frame.groupby("model")
        if not (own["preference"] == 1.5).all()
    }
    full = max(len(v.index) for v in found.values())
    kept = {model: v for model, v in found.items() if len(v.index) == full}
    return dict(sorted(kept.items(), key=lambda named: float(named[1].preference.mean())))


def rows(own: Verdicts, reference: Reference) -> Rows:
    """Contributions; an instruction that was drawn twice is two, as if another like it had been asked."""
    places = np.arange(len(own.index))
    relabelled = {int(k): reference.difficulty[int(i)] for k, i in zip(places, own.index, strict=True)}
    found = contributions(
        own.preference, own.delta, places.tolist(), Reference(reference.features, reference.preference, relabelled)
    )
    assert found is not None
    return Rows(np.array([found[k] for k in places]), places, places)


def shares(of: Rows) -> Rows:
    """In 0..1."""
    return Rows(of.values / 100, of.clusters, of.units)


def bootstrapped(own: Verdicts, reference: Reference, resamples: int = 400) -> float:
    """The rate's standard deviation over resampled instructions, the model refitted on each."""
    rng = np.random.default_rng(0)
    difficulty = np.array([reference.difficulty[int(i)] for i in own.index])
    rates = []
    for _ in range(resamples):
        k = rng.integers(0, len(difficulty), len(difficulty))
        x = np.stack([np.tanh(own.delta[k] / own.delta[k].std(ddof=1)), difficulty[k], np.ones(len(k))], 1)
        weights = refit(
            np.concatenate([reference.features, x]),
            np.concatenate([reference.preference, own.preference[k]]),
            np.concatenate([np.full(len(reference.preference), GAMED_WEIGHT), np.ones(len(k))]),
            UNREGULARISED,
            np.zeros(3),
        )
        rates.append(float(np.mean(1 / (1 + np.exp(-weights[1] * difficulty[k] - weights[2])))))
    return 100 * float(np.std(rates, ddof=1))


def covered(truth: float, low: float | None, high: float | None) -> bool:
    """An interval that cannot be known covers nothing."""
    return low is not None and high is not None and low <= truth <= high


def coverage(first: Verdicts, second: Verdicts, reference: Reference, size: int, seeds: range) -> Iterator[list[bool]]:
    """Whether the intervals of one rate and of the difference hold the truth, over draws of `size` instructions."""
    truths = [rows(own, reference).values.mean() for own in (first, second)]
    for seed in seeds:
        k = np.random.default_rng(seed).integers(0, len(first.index), size)
        one, other = (rows(own.drawn(k), reference) for own in (first, second))
        single, both = mean_interval([shares(one)], rate=True), paired_difference([one], [other])
        assert single is not None
        assert both is not None
        yield [
            covered(truths[0] / 100, single.low, single.high),
            covered(truths[0] - truths[1], both.low, both.high),
        ]


def low(models: dict[str, Verdicts], reference: Reference, experiments: int) -> str:
    """The page of --low: a row per weak model."""
    lines = [
        "# Length-controlled rates of weak models on 50 instructions",
        "",
        f"`python benchmarks/length_control.py --data DIR --experiments {experiments} --low`, {datetime.date.today()}: "
        f"instructions drawn with replacement; how often intervals of 95 % hold the rate over all 805.",
        "",
        "| model | rate, % | held, t | held, ours | width, t | width, ours |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for model in WEAK:
        own, found = models[model], []
        truth = rows(own, reference).values.mean() / 100
        for seed in range(experiments):
            places = np.random.default_rng(seed).integers(0, len(own.index), SIZES[0])
            share = shares(rows(own.drawn(places), reference))
            for interval in (mean_interval([share]), mean_interval([share], rate=True)):
                assert interval is not None
                assert interval.low is not None
                assert interval.high is not None
                found.append((covered(truth, interval.low, interval.high), interval.high - interval.low))
        (held, width), (ours, wider) = (100 * np.mean(found[k::2], axis=0) for k in (0, 1))
        lines.append(f"| {model} | {100 * truth:.1f} | {held:.1f} % | {ours:.1f} % | {width:.1f} | {wider:.1f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--experiments", type=int, default=300)
    asked.add_argument("--low", action="store_true")
    told = asked.parse_args()
    reference, models = read_reference(STAND_IN), read(told.data / FILE)
    if told.low:
        LOW.write_text(low(models, reference, told.experiments))
        return
    whole = {model: rows(own, reference) for model, own in models.items()}
    errors = {model: (mean_interval([r]), bootstrapped(models[model], reference)) for model, r in whole.items()}
    ratios = [(one.stderr or np.nan) / other for one, other in errors.values() if one]
    gains = []
    for one, other in pairwise(whole):
        paired = paired_difference([whole[one]], [whole[other]])
        apart = np.hypot(*(np.sqrt(whole[m].values.var(ddof=1) / len(whole[m].values)) for m in (one, other)))
        gains.append((paired.stderr if paired and paired.stderr else np.nan) / apart)
    lines = [
        "# The error of length-controlled win rates",
        "",
        f"`python benchmarks/length_control.py --data DIR --experiments {told.experiments}`, "
        f"{datetime.date.today()}: recorded verdicts of GPT-4 Turbo on {len(models)} models and "
        f"{len(next(iter(whole.values())).values)} instructions, difficulties of the stand-in.",
        "",
        "| | median | lowest | highest |",
        "|---|---:|---:|---:|",
        f"| our error beside a bootstrap that refits | {_three(ratios)} |",
        f"| paired error of a difference beside the unpaired (neighbours in win rate) | {_three(gains)} |",
        "",
        "Instructions drawn at random from all (with replacement): how often intervals of 95 % hold the rate, and the",
        "difference of two neighbours, over all instructions.",
        "",
        "| instructions | models | one rate | difference |",
        "|---:|---|---:|---:|",
    ]
    names = list(models)
    for size in SIZES:
        for first, second in (names[place - 1 : place + 1] for place in (len(names) // 4, 3 * len(names) // 4)):
            held = list(coverage(models[first], models[second], reference, size, range(told.experiments)))
            shares = [f"{100 * share:.1f} %" for share in np.mean(held, axis=0)]
            lines.append(f"| {size} | {first}, {second} | {' | '.join(shares)} |")
            print(lines[-1], flush=True)
    OUT.write_text("\n".join(lines) + "\n")
    print(OUT.read_text())


def _three(values: list[float]) -> str:
    return f"{np.median(values):.2f} | {np.min(values):.2f} | {np.max(values):.2f}"


if __name__ == "__main__":
    main()
