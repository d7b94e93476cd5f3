"""Hold a recipe's judges against recorded verdicts: the same tasks, judge stages and ledger as a run's."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.bench.api import Answer
from harness.bench.recorded import READERS, Recorded, RecordedModel, Unit
from harness.core.canonical import Json, file_digest
from harness.core.errors import HarnessError
from harness.judge.api import Verdict
from harness.judge.calibration import Measure, failures, length_bias, order_agreement, rating_agreement
from harness.judge.calibration_record import Calibration
from harness.plan.build import Evaluated, Plan
from harness.plan.runs import command
from harness.stages import benchmark as glue
from harness.stages import judge, stored_answers
from harness.stages.api import Stage
from harness.stats.spread import Floats
from harness.store.provenance import provenance
from harness.store.store import Store

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_PADDED_SHARE = 0.5


@dataclass(frozen=True)
class Case:
    """One judge on one benchmark's recorded verdicts."""

    benchmark: str
    form: str
    judge: Stage
    """A verdict stage of the recipe."""
    recorded: Recorded
    plain: Mapping[str, Stage]
    """Model -> the stage in which its stored answers are judged."""
    padded: Mapping[str, Stage]
    """The same with padded answers; empty where padding is not asked for."""

    @property
    def digest(self) -> str:
        """The judge's."""
        return judge.asked_of(self.judge.params, self.judge.execution).digest


@dataclass(frozen=True)
class Wanted:
    """What to calibrate on."""

    benchmarks: tuple[str, ...] = ()
    """All of the recipe's that have recorded verdicts by default."""
    recorded: Path | None = None
    reference: str = "gpt-4"
    questions: int | None = None
    padding: bool = True


def cases(plan: Plan, store: Store, wanted: Wanted) -> list[Case]:
    """Each judge of the plan once.

    Raises:
        HarnessError: the recipe has no such benchmark, no judge, or there are no recorded verdicts.
    """
    found: dict[str, Case] = {}
    for evaluated in _judged(plan, wanted.benchmarks):
        digest = judge.asked_of(evaluated.verdicts.params, evaluated.verdicts.execution).digest
        if digest not in found:
            found[digest] = _case(evaluated, store, wanted)
    return list(found.values())


def stages(found: Sequence[Case]) -> dict[str, Stage]:
    """What must run before the cases can be measured, inputs first."""
    seen: set[str] = set()
    ends = (s for case in found for s in (*case.plain.values(), *case.padded.values()))
    return {s.id: s for end in ends for s in end.walk(seen) if not s.is_leaf}


def _judged(plan: Plan, benchmarks: Sequence[str]) -> list[Evaluated]:
    """The plan's evaluations by a model judge on these benchmarks."""
    every = [e for cell in plan.cells for e in cell.evaluated]
    where = str(plan.recipe.path)
    known = ", ".join(READERS)
    for name in benchmarks:
        if name not in READERS:
            raise HarnessError(f"there are no recorded verdicts for '{name}'", fix=f"Choose from {known}.")
        if not any(e.benchmark == name for e in every):
            fix = f"Add it to `evaluate`, or choose from {', '.join(dict.fromkeys(e.benchmark for e in every))}."
            raise HarnessError(f"the recipe does not evaluate {name}", where=where, fix=fix)
    found = [e for e in every if e.benchmark in (benchmarks or READERS)]
    if not found:
        fix = f"Calibration needs a model judge on {known}; a program needs none."
        raise HarnessError("the recipe has no judge that could be calibrated", where=where, fix=fix)
    return found


def _case(evaluated: Evaluated, store: Store, wanted: Wanted) -> Case:
    name, stage = evaluated.benchmark, evaluated.verdicts
    settings = glue.by_name(name).settings.model_validate_json(json.dumps(stage.execution["benchmark"]))
    recorded = READERS[name](settings, wanted.recorded, wanted.reference).only(wanted.questions)
    asked = glue.asked(name, recorded.settings)

    def over(model: RecordedModel, *, padded: bool) -> Stage:
        title = f"{name}: {'padded ' if padded else ''}answers of {model.name}"
        texts = [_padded(a) for a in model.answers] if padded else model.answers
        answers = stored_answers.stage(store, texts, title)
        weights = {"judge": stage.inputs["judge"]} if "judge" in stage.inputs else {}
        return replace(
            stage,
            params={**asked.params, "judge": stage.params["judge"]},
            inputs={"answers": answers, **asked.files, **weights},
            execution={**stage.execution, **asked.execution},
            title=title.replace("answers", "verdicts", 1),
        )

    plain = {m.name: over(m, padded=False) for m in recorded.models}
    padded = {m.name: over(m, padded=True) for m in recorded.models} if wanted.padding else {}
    return Case(name, asked.form, stage, recorded, plain, padded)


def _padded(answer: Answer) -> Answer:
    return replace(answer, turns=tuple(t if t is None else pad(t) for t in answer.turns))


def pad(text: str) -> str:
    """The answer, then its beginning once more: longer by half or so, and not one thing more is said."""
    sentences, again = _SENTENCE.split(text.strip()), ""
    for sentence in sentences:
        again = f"{again} {sentence}".strip()
        if len(again) >= _PADDED_SHARE * len(text):
            break
    return f"{text}\n\nIn other words, to say it once more: {again}" if again else text


def measure(case: Case, store: Store) -> Calibration:
    """The calibration of a judge whose stages are finished."""
    verdicts = {m: judge.read_verdicts(store.path(s.id)) for m, s in case.plain.items()}
    padded = {m: _values(judge.read_verdicts(store.path(s.id))) for m, s in case.padded.items()}
    rows = list(_rows(case, {m: _values(v) for m, v in verdicts.items()}, padded))
    table = pd.DataFrame(rows, columns=["model", "item", "turn", "reference", "judge", "padded"])
    settings = judge.asked_of(case.judge.params, case.judge.execution).settings
    return Calibration(
        digest=case.digest,
        judge=settings.model,
        protocol=case.judge.params["judge"]["protocol"],
        benchmark=case.benchmark,
        form=case.form,
        reference=case.recorded.reference,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        measures=tuple(_measures(table, bool(padded))),
        models=_models(table),
        cost=_cost([v for of_model in verdicts.values() for v in of_model]),
        data={path.name: file_digest(path) for path in case.recorded.files},
        command=command(),
        provenance=provenance(),
    )


def _values(verdicts: Sequence[Verdict]) -> dict[Unit, float]:
    """The mean verdict of each unit; a unit none of whose verdicts has a value is left out."""
    found: dict[Unit, list[float]] = {}
    for v in verdicts:
        if v.status == "ok" and v.value is not None:
            found.setdefault((v.item, v.turn), []).append(v.value)
    return {unit: sum(values) / len(values) for unit, values in found.items()}


Given = Mapping[str, Mapping[Unit, float]]


def _rows(case: Case, plain: Given, padded: Given) -> Iterator[tuple[str | int | float, ...]]:
    for model in case.recorded.models:
        for unit, reference in model.verdicts.items():
            both = (values.get(model.name, {}).get(unit, np.nan) for values in (plain, padded))
            yield (model.name, *unit, reference, *both)


def _measures(table: pd.DataFrame, padded: bool) -> Iterator[Measure]:
    ours, reference, questions = _column(table, "judge"), _column(table, "reference"), table["item"].to_numpy()
    yield failures(ours, questions)
    yield from rating_agreement(ours, reference, questions)
    turns = sorted(table["turn"].unique())
    for turn in turns if len(turns) > 1 else ():
        own = (table["turn"] == turn).to_numpy()
        yield from rating_agreement(ours[own], reference[own], questions[own], f"turn {turn}")
    units = (table["item"] + "/" + table["turn"].astype(str)).to_numpy()
    yield from order_agreement(ours, reference, questions, units, table["model"].to_numpy())
    if padded:
        yield from length_bias(ours, _column(table, "padded"), questions)


def _column(table: pd.DataFrame, name: str) -> Floats:
    return table[name].to_numpy(dtype=np.float64)


def _models(table: pd.DataFrame) -> dict[str, Json]:
    """Mean verdicts per model, over what both judged."""
    both = table[table["judge"].notna()]
    return {
        str(name): {"judge": float(own["judge"].mean()), "reference": float(own["reference"].mean()), "n": len(own)}
        for name, own in both.groupby("model")
    }


def _cost(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    """Of one verdict on average, the price of a thousand; None where a price is not known."""
    prices = [v.price_usd for v in verdicts if v.price_usd is not None]
    return {
        "usd_per_1000_verdicts": 1000 * sum(prices) / len(prices) if len(prices) == len(verdicts) else None,
        "seconds_per_verdict": float(np.mean([v.latency_s for v in verdicts])),
        "tokens_per_verdict": float(np.mean([v.prompt_tokens + v.completion_tokens for v in verdicts])),
    }


def rows(calibration: Calibration) -> pd.DataFrame:
    """The calibration as a tidy table: one row per measure, then what a verdict costs."""
    lead = {k: getattr(calibration, k) for k in ("judge", "protocol", "benchmark", "reference")}
    measured: list[dict[str, Any]] = [lead | asdict(m) for m in calibration.measures]
    cost = [lead | {"name": name, "part": "all", "value": value} for name, value in calibration.cost.items()]
    frame = pd.DataFrame([*measured, *cost]).rename(columns={"name": "measure"}).drop(columns="clusters")
    return frame.astype({"value": "Float64", "low": "Float64", "high": "Float64", "n": "Int64", "total": "Int64"})
