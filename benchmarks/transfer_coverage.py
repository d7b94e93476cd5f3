"""Do transferred scores hold the reference's own? On recorded verdicts of several judges, each model left out in turn.

    python benchmarks/transfer_coverage.py FILE_OR_FOLDER [...] [--out results/reference/transfer]

AlpacaEval's verdicts of several judges on the same answers: tables (.parquet, .json, .jsonl) with the columns generator
(or generator_2), annotator, index or instruction, and preference (1..2, 0 a draw), or folders that hold the package's
annotations.json (its repository has such under results/, in part as pointers to large files). Each file or folder is a
study: every ordered pair of judges that have two models in common is tried, the first as the live judge. A
model whose verdicts by both are all equal is left out, being one judge's under two names. Writes README.md.
"""

import argparse
import datetime
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from harness.bench.alpaca_eval.files import read_records
from harness.stats.transfer import METHODS, ROGAN_GLADEN, Labelled, LeftOut, Transferred, binary, left_out

OUT = Path(__file__).parents[1] / "results/reference/transfer"
Verdicts = Mapping[str, Mapping[str, Mapping[object, float]]]
"""Shares of a win by model, judge and question."""


@dataclass(frozen=True)
class Tried:
    """A pair of judges: every model that both have judged, left out in turn."""

    live: str
    reference: str
    wins: bool
    models: Mapping[str, LeftOut]


def read(path: Path) -> Verdicts:
    """The verdicts that have a value, of a file or of the files in a folder."""
    verdicts: dict[str, dict[str, dict[object, float]]] = {}
    files = sorted(path.rglob("annotations.json")) if path.is_dir() else [path]
    for row in (row for file in files for row in read_records(file)):
        if row["preference"] is not None:
            model = row["generator_2"] if "generator_2" in row else row["generator"]
            question = row["instruction"] if "instruction" in row else row["index"]
            share = (row["preference"] or 1.5) - 1
            verdicts.setdefault(model, {}).setdefault(row["annotator"], {})[question] = share
    return verdicts


def study(verdicts: Verdicts) -> Iterator[Tried]:
    """Every ordered pair of judges."""
    judges = sorted({judge for of_model in verdicts.values() for judge in of_model})
    for live, reference in permutations(judges, 2):
        models = {
            name: both
            for name, of_model in sorted(verdicts.items())
            if {live, reference} <= of_model.keys() and not _same(both := _both(of_model[live], of_model[reference]))
        }
        if len(models) > 1:
            wins = binary(list(models.values()))
            yield Tried(live, reference, wins, left_out(models, wins=wins))


def _both(live: Mapping[object, float], reference: Mapping[object, float]) -> Labelled:
    """The verdicts on the questions that both judges have answered."""
    shared = sorted(live.keys() & reference.keys(), key=str)
    first, second = (np.array([judge[question] for question in shared]) for judge in (live, reference))
    return Labelled(first, second, np.array(shared, dtype=object))


def _same(both: Labelled) -> bool:
    return bool(np.array_equal(both.live, both.reference))


def page(studies: Mapping[str, Sequence[Tried]], command: str) -> str:
    """What README.md says: a section for each file or folder."""
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
    sections = "".join(_section(name, tried) for name, tried in studies.items())
    return f"""# Do transferred scores hold the reference's own?

`{command}`, {datetime.date.today().isoformat()}; {versions}.

Each model in turn is scored from the live judge's verdicts on it and both judges' verdicts on the other models. All in
%. Bold: the 95 % interval does not hold the reference's own score. `rogan_gladen` needs a reference whose verdicts are
wins, losses and ties; a dash is a method that gives no score.

A handful of models is no measure of coverage. It is enough to see what each method takes for alike: `ppi_plus_plus` and
`rogan_gladen` go wrong where the model left out is much weaker or stronger than the recorded ones, the first towards
them and the second away from them, and `ppi` where the judge's mean error is not the same at all.
{sections}"""


def _section(name: str, tried: Sequence[Tried]) -> str:
    cases = [(pair, out) for pair in tried for out in pair.models.values()]
    held, off = [], []
    for method in METHODS:
        possible = [out for pair, out in cases if pair.wins or method != ROGAN_GLADEN]
        held.append(f"{method} {sum(out.held(method) for out in possible)} of {len(possible)}")
        scores = [(out.transferred[method].value, out.reference) for out in possible if method in out.transferred]
        off.append(f"{method} {np.median([100 * abs(value - truth) for value, truth in scores]):.1f}")
    uncorrected = np.median([100 * abs(out.live - out.reference) for _, out in cases])
    lines = "".join(_line(pair, name, out) for pair in tried for name, out in pair.models.items())
    return f"""
## {name}

Intervals hold the reference's own score: {", ".join(held)}.
The live judge itself is off by {uncorrected:.1f} points (median); corrected: {", ".join(off)}.

| live judge | reference | model | reference's own | live judge's | {" | ".join(METHODS)} |
|---|---|---|---:|---:|---:|---:|---:|
{lines}"""


def _line(pair: Tried, name: str, out: LeftOut) -> str:
    methods = " | ".join(_shown(out, method, out.transferred.get(method)) for method in METHODS)
    return (
        f"| {pair.live} | {pair.reference} | {name} | {100 * out.reference:.1f} | {100 * out.live:.1f} | {methods} |\n"
    )


def _shown(out: LeftOut, method: str, made: Transferred | None) -> str:
    if made is None:
        return "–"
    text = f"{100 * made.value:.1f} [{100 * made.low:.1f}, {100 * made.high:.1f}]"
    return text if out.held(method) else f"**{text}**"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=OUT)
    told = parser.parse_args()
    command = f"python benchmarks/transfer_coverage.py {' '.join(path.name for path in told.files)}"
    text = page({path.name: list(study(read(path))) for path in told.files}, command)
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / "README.md").write_text(text)
    print(text)
