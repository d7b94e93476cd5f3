"""Do audited scores hold the reference's own score, and are they narrower than the audit alone? On recorded verdicts.

    python benchmarks/audit_coverage.py FILE [FILE ...] [--audits 1000] [--controlled 60] [--sizes 100 200]

Each FILE is a table of AlpacaEval's verdicts (.parquet, .json, .jsonl) of several judges on the same answers, with the
columns generator (or generator_2, or model), annotator, index and preference (1..2). Every ordered pair of judges of a
model is tried, the first as the live judge of all instructions, the second as the reference of a random share; so is
the difference of every two models that both judges have annotated. Two kinds of experiment: `held` takes the
instructions as they are and draws the audits, the truth being the reference's score on all of them; `held, new
questions` draws the instructions too, with replacement from those in the file. The length-controlled rates of the same
models are audited too where the file has the answers' lengths (baseline_chars and output_chars, or len_1 and len_2), in
`controlled` audits, since each takes a second. Writes README.md and coverage.csv into results/reference/audit.
"""

import argparse
import csv
import datetime
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import combinations, permutations
from pathlib import Path

import numpy as np

from harness.bench.alpaca_eval.files import read_records
from harness.bench.alpaca_eval.length_control import STAND_IN, contributions, read_reference
from harness.stats.audit import Judged, audit, audited_difference
from harness.stats.intervals import Difference, Interval, paired_difference
from harness.stats.spread import Floats, Rows

OUT = Path(__file__).parents[1] / "results/reference/audit"
FLOOR, ENOUGH = 5.0, 92.0
"""Percent: the rate above which intervals have to hold it, and how often."""
Judges = Mapping[str, Mapping[int, float]]
"""One model's win rates (0 or 100, or between) by judge and instruction."""


@dataclass(frozen=True)
class Finding:
    """One line of the study; everything but counts in percent or percentage points."""

    models: str
    live: str
    reference: str
    questions: int
    audited: int
    truth: float
    """The reference's own score on all instructions."""
    live_error: float
    """The live judge's own score minus it."""
    held: float
    held_new_questions: float | None
    """None where it was not tried."""
    width: float
    """Of the interval, as a share of the interval of the audit alone: the median."""
    effective: float
    """Audited instructions that the audit is worth: the median."""


@dataclass(frozen=True)
class Pair:
    """A model's verdicts by two judges on the same instructions, two arrays (instructions,)."""

    live: Floats
    reference: Floats

    def judged(self, drawn: np.ndarray, chosen: np.ndarray) -> Judged:
        """The verdicts on the instructions `drawn`, the reference being asked for those at the places `chosen`."""
        places = np.arange(len(drawn))
        labels = self.reference[drawn][chosen]
        return Judged(Rows(self.live[drawn], places, places), Rows(labels, chosen, chosen))


def read(paths: Sequence[Path]) -> tuple[dict[str, Judges], dict[str, dict[int, float]]]:
    """By model and judge the model's win in percent, of verdicts that have a value; by model the lengths' difference.

    Both by instruction; the difference is that of the baseline's answer and the model's, in characters.
    """
    models: dict[str, dict[str, dict[int, float]]] = {}
    deltas: dict[str, dict[int, float]] = {}
    for row in (row for path in paths for row in read_records(path)):
        if row["preference"] is not None:
            model = next(row[key] for key in ("generator", "generator_2", "model") if key in row)
            of_judge = models.setdefault(model, {}).setdefault(row["annotator"], {})
            of_judge[int(row["index"])] = 100 * (row["preference"] - 1)
            for one, other in (("baseline_chars", "output_chars"), ("len_1", "len_2")):
                if one in row:
                    deltas.setdefault(model, {})[int(row["index"])] = row[one] - row[other]
    return dict(models), deltas


def pair(models: Sequence[Judges], live: str, reference: str) -> list[Pair]:
    """Each model's verdicts by the two judges, on the instructions that all of them have."""
    shared = sorted(set.intersection(*(set(judges[j]) for judges in models for j in (live, reference))))
    return [Pair(*(np.array([judges[j][i] for i in shared]) for j in (live, reference))) for judges in models]


def judged_by(models: Sequence[Judges]) -> list[tuple[str, str]]:
    """The ordered pairs of judges that all of these models have."""
    return list(permutations(sorted(set.intersection(*(set(judges) for judges in models))), 2))


def holds(interval: Interval | Difference | None, truth: float) -> bool:
    """Whether the truth is inside; an interval that cannot be known holds nothing."""
    if interval is None or interval.low is None or interval.high is None:
        return False
    return interval.low <= truth <= interval.high


def experiment(
    pairs: Sequence[Pair], drawn: np.ndarray, chosen: np.ndarray
) -> tuple[Interval | Difference | None, ...]:
    """The audited score of a model, or difference of two, and the same by the audit's verdicts alone."""
    judged = [p.judged(drawn, chosen) for p in pairs]
    if len(judged) == 1:
        audited = audit(judged[0])
        return (audited.score, audited.reference) if audited else (None, None)
    one, other = judged
    return audited_difference([one], [other]), paired_difference([one.reference], [other.reference])


def tried(name: str, judges: tuple[str, str], pairs: Sequence[Pair], size: int, audits: int) -> Finding:
    """The study of one pair of judges at one size, of one model or of the difference of two."""
    rng = np.random.default_rng([size, len(pairs), audits])
    questions = len(pairs[0].live)
    sign = [1, -1][: len(pairs)]
    truth, live = (
        float(sum(s * v.mean() for s, v in zip(sign, values, strict=True)))
        for values in ([p.reference for p in pairs], [p.live for p in pairs])
    )
    every, held, widths, worth = np.arange(questions), np.zeros(2), [], []
    for _ in range(audits):
        chosen = rng.permutation(questions)[:size]
        found, alone = experiment(pairs, every, chosen)
        again, _ = experiment(pairs, rng.integers(0, questions, questions), chosen)
        held += [holds(found, truth), holds(again, truth)]
        if found and alone and found.low is not None and alone.low is not None and found.stderr and alone.stderr:
            widths.append((found.value - found.low) / (alone.value - alone.low))
            worth.append(size * (alone.stderr / found.stderr) ** 2)
    shares = 100 * held / audits
    middle = float(np.median(widths)), float(np.median(worth))
    return Finding(name, *judges, questions, size, truth, live - truth, float(shares[0]), float(shares[1]), *middle)


def study(models: Mapping[str, Judges], sizes: Sequence[int], audits: int) -> Iterator[Finding]:
    """All models and all differences of two."""
    named = [[name] for name in sorted(models)] + [list(two) for two in combinations(sorted(models), 2)]
    for names in named:
        chosen = [models[name] for name in names]
        for judges in judged_by(chosen):
            for size in sizes:
                yield tried(" - ".join(names), judges, pair(chosen, *judges), size, audits)


def controlled(
    models: Mapping[str, Judges], deltas: Mapping[str, Mapping[int, float]], sizes: Sequence[int], audits: int
) -> Iterator[Finding]:
    """The same of length-controlled rates, with the instructions as they are."""
    reference = read_reference(STAND_IN)
    for model in (name for name in sorted(models) if name in deltas and audits):
        for judges in judged_by([models[model]]):
            (values,), index = pair([models[model]], *judges), np.array(sorted(deltas[model]))
            delta = np.array([deltas[model][i] for i in index.tolist()], dtype=float)

            def rows(win: Floats, some: np.ndarray, index: np.ndarray = index, delta: Floats = delta) -> Rows:
                made = contributions(win[some] / 100, delta[some], index[some].tolist(), reference)
                assert made is not None, "AlpacaEval's own instructions"
                return Rows(np.array([made[i] for i in index[some].tolist()]), some, some)

            every = np.arange(len(index))
            live, whole = rows(values.live, every), rows(values.reference, every).values.mean()
            rng, results = np.random.default_rng(len(index)), []
            for size in sizes:
                chosen = (rng.permutation(len(index))[:size] for _ in range(audits))
                results = [audit(Judged(live, rows(values.reference, np.sort(some)))) for some in chosen]
                known = [r for r in results if r is not None and r.score.stderr and r.reference.stderr]
                held = 100 * sum(holds(r.score, whole) for r in known) / audits
                width = np.median([(r.score.stderr or 0) / (r.reference.stderr or 1) for r in known])
                worth = np.median([r.effective or 0 for r in known])
                error = float(live.values.mean() - whole)
                rates = float(whole), error, held, None, float(width), float(worth)
                yield Finding(f"{model}, length-controlled", judges[0], judges[1], len(index), size, *rates)


def write(findings: Sequence[Finding], command: str, audits: int, controlled_audits: int) -> str:
    """coverage.csv and README.md, whose text is returned."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "coverage.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Finding)])
        writer.writerows([round(v, 2) if isinstance(v, float) else v for v in astuple(f)] for f in findings)
    rates = [f for f in findings if f.held_new_questions is not None]
    asked = [f for f in rates if abs(f.truth) > FLOOR or " - " in f.models]
    held, new, width = ([getattr(f, name) for f in asked] for name in ("held", "held_new_questions", "width"))
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
    text = f"""# Do audited scores hold the reference's own?

`{command}`, {datetime.date.today().isoformat()}; {versions}.

{_summary(len(asked), held, new, width, audits)}

An interval is about other questions than these; that is why it holds the score on these more often than 95 % of the
time where a quarter of them is audited. Where the rate is nearly 0, a hundred verdicts hold two or three wins, and
neither the audited interval nor that of the audit alone can be trusted.
{_controlled_summary([f for f in findings if f.held_new_questions is None], controlled_audits)}
| score of | live judge | reference | audited | reference's own | live judge is off by | held | new | width | worth |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|
{"".join(map(_line, findings))}
`held`, and `new` where the questions are drawn anew too, are in %; `width` is that of the interval, as a share of the
width of the audit alone; `worth` is how many audited questions alone would have as small a standard error.
"""
    (OUT / "README.md").write_text(text)
    return text


def _summary(rows: int, held: Sequence[float], new: Sequence[float], width: Sequence[float], audits: int) -> str:
    low, error = sum(h < ENOUGH for h in held), 100 * (0.95 * 0.05 / audits) ** 0.5
    return (
        f"Differences of models, and rates above {FLOOR:g} %, are {rows} rows. Intervals hold the reference's own "
        f"score in {min(held):.1f} to {max(held):.1f} % of {audits} random audits (standard error {error:.1f} points), "
        f"in {low} rows in less than {ENOUGH:g} %; where the questions are drawn anew as well it is {min(new):.1f} to "
        f"{max(new):.1f} %. At the median they are {min(width):.2f} to {max(width):.2f} as wide as those of the audit "
        "alone."
    )


def _controlled_summary(findings: Sequence[Finding], audits: int) -> str:
    if not findings:
        return ""
    parts = []
    for size in sorted({f.audited for f in findings}):
        held = [f.held for f in findings if f.audited == size]
        parts.append(f"{min(held):.1f} to {max(held):.1f} % with {size} ({sum(held) / len(held):.1f} % on average)")
    error = 100 * (0.95 * 0.05 / audits) ** 0.5
    return (
        f"\nLength-controlled rates, {audits} audits a row (standard error {error:.1f} points): {', '.join(parts)}.\n"
    )


def _line(f: Finding) -> str:
    new = "" if f.held_new_questions is None else f"{f.held_new_questions:.1f}"
    numbers = f"{f.truth:.1f} | {f.live_error:+.1f} | {f.held:.1f} | {new} | {f.width:.2f}"
    return f"| {f.models} | {f.live} | {f.reference} | {f.audited} of {f.questions} | {numbers} | {f.effective:.0f} |\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--controlled", type=int, default=60)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200])
    told = parser.parse_args()
    sizes = " ".join(map(str, told.sizes))
    names = " ".join(path.name for path in told.files)
    command = f"python benchmarks/audit_coverage.py {names} --audits {told.audits} --controlled {told.controlled}"
    tables, deltas = read(told.files)
    findings = [*study(tables, told.sizes, told.audits), *controlled(tables, deltas, told.sizes, told.controlled)]
    print(write(findings, f"{command} --sizes {sizes}", told.audits, told.controlled))
