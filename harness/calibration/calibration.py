"""The record of a judge's calibration, by the judge's digest. Its note stands beside every score of that judge."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.calibration.measures import FIRST_WINS, KAPPA, LENGTH, SPEARMAN, Measure
from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import read_json, write_atomically
from harness.stats.transfer import METHODS, PPI, TUNED, LeftOut, Sums
from harness.store.store import Store

MIN_AGREEMENT = 0.3
"""Below this agreement a judge is uninformative. It is Cohen's (1988) medium correlation: a judge below it shares less
than a tenth (0.3 squared) of the recorded verdicts' rank variance. An interval that excludes 0 is not enough: a judge
that only counts characters has Spearman 0.20 [0.04, 0.34] with GPT-4's 320 ratings of two models on MT-Bench."""
MIN_QUESTIONS = 10
"""With fewer questions a judge is uninformative, because an interval means little (see `stats.intervals`)."""
FEWEST_MODELS = 5
"""Recorded models left out below which transferred scores are not ranked. An interval that holds as often as a coin
shows heads holds all of five with a chance of 1 in 32."""
_TITLES = {SPEARMAN: "Spearman", KAPPA: "kappa"}


@dataclass(frozen=True)
class Transferable:
    """What transfers the judge's scores of other models to the reference's (`harness.stats.transfer`)."""

    metric: str
    """The benchmark's metric whose scores they are."""
    wins: bool
    """The reference's verdicts are wins, losses and ties."""
    labels: Mapping[str, Sums]
    """By question, of all recorded models; of pairs in shares of a win."""
    left_out: Mapping[str, LeftOut]
    """By recorded model; empty where there is one only."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that can be tried."""
        return METHODS if self.wins else (PPI, TUNED)

    def held(self, method: str) -> int:
        """In how many of the models left out the interval of a method holds the reference's own score."""
        return sum(model.held(method) for model in self.left_out.values())


@dataclass(frozen=True)
class Calibration:
    """The measures of a judge's agreement with recorded verdicts, and of its biases."""

    digest: str
    """`harness.judge.identity.judge_digest`: model, weights, protocol, prompts, parameters, epoch."""
    judge: str
    protocol: str
    benchmark: str
    form: str
    reference: str
    """The judge of the recorded verdicts."""
    date: str
    """UTC, ISO 8601."""
    measures: tuple[Measure, ...]
    models: Mapping[str, Json]
    """Per model of the recorded answers: `judge` and `reference` (mean verdicts), `n`."""
    cost: Mapping[str, Json]
    """Price of 1000 verdicts (null where unknown), seconds and tokens per verdict."""
    data: Mapping[str, str]
    """Files of the recorded verdicts -> digest."""
    command: str = ""
    provenance: Mapping[str, Json] | None = None
    transferable: Transferable | None = None
    """None where the benchmark's score is no mean of recorded verdicts, or no answer has a verdict of both judges."""

    @property
    def headline(self) -> Measure:
        """The measure that decides: Spearman for ratings, kappa for preferences."""
        return next(m for m in self.measures if m.name == self.deciding and m.part == "all")

    @property
    def deciding(self) -> str:
        """The name of the measure that decides."""
        return SPEARMAN if self.form == "rating" else KAPPA

    @property
    def informative(self) -> bool:
        """Whether the agreement is at least MIN_AGREEMENT, with an interval above 0."""
        m = self.headline
        if m.value is None or m.clusters < MIN_QUESTIONS:
            return False
        return m.value >= MIN_AGREEMENT and (m.low is None or m.low > 0)  # no interval: all resamples were equal

    @property
    def note(self) -> str:
        """`Spearman 0.41 [0.30, 0.51] with gpt-4 on 320 verdicts, 2026-11-21`, and the biases."""
        m = self.headline
        scored = f"{m.n}" if m.n == m.total else f"{m.n} of {m.total}"
        parts = [f"{_TITLES[m.name]} {_agreement(m)} with {self.reference} on {scored} verdicts, {self.date[:10]}"]
        if m.clusters < MIN_QUESTIONS:
            parts.append(f"too few questions to tell ({m.clusters})")
        return "; ".join([*parts, *self.biases])

    @property
    def biases(self) -> list[str]:
        """The biases whose intervals exclude chance, in words."""
        by_name = {m.name: m for m in self.measures if m.part == "all"}
        sentences: list[str] = []
        gain = by_name.get(LENGTH)
        if gain and gain.value and (gain.low if gain.low is not None else gain.value) > 0:
            sentences.append(f"padding an answer gains {gain.value:.2f}")
        first = by_name.get(FIRST_WINS)
        if first and first.value is not None and first.low is not None and first.high is not None:
            if first.low > 0.5:
                sentences.append(f"prefers the answer shown first ({first.value:.0%})")
            elif first.high < 0.5:
                sentences.append(f"prefers the answer shown second ({1 - first.value:.0%})")
        return sentences


def _agreement(m: Measure) -> str:
    if m.value is None:
        return "undefined (one of them gives the same verdict to all)" if m.n else "unknown (no verdict)"
    return f"{m.value:.2f}" if m.low is None or m.high is None else f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]"


def write(path: Path, calibration: Calibration) -> None:
    """Write the record as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = asdict(calibration) | {"informative": calibration.informative, "note": calibration.note}
    write_atomically(path, json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def records(store: Store) -> Path:
    """The folder of the store's calibration records."""
    return store.root / "calibrations"


def find(folder: Path, digest: str) -> Calibration | None:
    """The calibration of the judge with that digest; None if it has none.

    Raises:
        HarnessError: the record exists and cannot be read.
    """
    path = folder / f"{digest}.json"
    if not path.exists():
        return None
    fix = "Remove the file and calibrate again: the judge's replies are kept."
    facts = read_json(path, fix)
    if isinstance(facts, dict):
        facts = {k: v for k, v in facts.items() if k not in ("informative", "note")}
    try:
        calibration = TypeAdapter(Calibration).validate_python(facts)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise HarnessError(f"is no calibration record ({what})", where=str(path), fix=fix) from None
    if not any(m.name == calibration.deciding and m.part == "all" for m in calibration.measures):
        raise HarnessError(f"is no calibration record (no measure {calibration.deciding})", where=str(path), fix=fix)
    return calibration
