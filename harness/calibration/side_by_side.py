"""From verdict artifacts to a judge's calibration: its verdicts beside the recorded ones, then the measures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from harness.bench.recorded import Recorded, Unit
from harness.calibration import measures
from harness.calibration.calibration import Calibration, Transferable
from harness.calibration.cases import Case
from harness.calibration.measures import Measure
from harness.core.canonical import Json, file_digest
from harness.judge.api import Verdict
from harness.stages import benchmarks, judge
from harness.stages.api import Stage
from harness.stats.spread import Floats
from harness.stats.transfer import Labelled, binary, label_sums, left_out
from harness.store.provenance import command, provenance
from harness.store.store import Store

ByModel = Mapping[str, Sequence[Verdict]]
_ORDERS = ("ab", "ba")


def measure(case: Case, store: Store) -> Calibration:
    """The calibration of a judge whose stages are finished."""
    plain, padded = _read(case.plain, store), _read(case.padded, store)
    table = _side_by_side(case.recorded, plain, padded)
    verdicts = [verdict for of_model in plain.values() for verdict in of_model]
    judged = _ratings(table) if case.recorded.share is None else _preferences(table, verdicts, case.recorded.share)
    values = np.array([np.nan if v.reply.value is None else v.reply.value for v in verdicts])
    resolved = judge.resolved(case.judge.params, case.judge.execution)
    return Calibration(
        digest=resolved.digest,
        judge=resolved.settings.model,
        protocol=resolved.protocol.name,
        benchmark=case.benchmark,
        form=case.form,
        reference=case.recorded.reference,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        measures=(
            measures.failures(values, _items(verdicts)),
            *judged,
            *(_length(table) if padded else ()),
        ),
        models=_models(table),
        cost=_cost(verdicts),
        data={path.name: file_digest(path) for path in case.recorded.files},
        command=command(),
        provenance=provenance(),
        transferable=_transferable(case, table),
    )


def _read(stages: Mapping[str, Stage], store: Store) -> ByModel:
    return {model: judge.read_verdicts(store.path(stage.id)) for model, stage in stages.items()}


def _side_by_side(recorded: Recorded, plain: ByModel, padded: ByModel) -> pd.DataFrame:
    """A row per recorded verdict: the reference's value, and the judge's for the answer, its padding, each order."""
    rows = []
    for model in recorded.models:
        verdicts, copies = plain[model.name], padded.get(model.name, ())
        columns = {"judge": _values(verdicts, recorded), "padded": _values(copies, recorded)}
        columns |= {order: _values([v for v in verdicts if v.task.variant == order], recorded) for order in _ORDERS}
        rows += [
            {"model": model.name, "item": unit[0], "turn": unit[1], "reference": reference}
            | {name: values.get(unit, np.nan) for name, values in columns.items()}
            for unit, reference in model.verdicts.items()
        ]
    return pd.DataFrame(rows)


def _values(verdicts: Sequence[Verdict], recorded: Recorded) -> dict[Unit, float]:
    """The mean verdict of each unit (for pairs the model's share); a unit without any value is left out.

    A pair shown in both orders counts only if both have a value, because a single order has its position bias.
    """
    by_unit: dict[Unit, dict[str, list[float]]] = {}
    orders: dict[Unit, set[str]] = {}
    for v in verdicts:
        orders.setdefault((v.task.item, v.task.turn), set()).add(v.task.variant)
        if v.reply.value is not None:
            value = v.reply.value if recorded.share is None else recorded.share(v.reply.value)
            value = 1 - value if v.task.variant == "ba" else value
            by_unit.setdefault((v.task.item, v.task.turn), {}).setdefault(v.task.variant, []).append(value)
    return {
        unit: float(np.mean([np.mean(values) for values in by_order.values()]))
        for unit, by_order in by_unit.items()
        if by_order.keys() == orders[unit]
    }


def _ratings(table: pd.DataFrame) -> Iterator[Measure]:
    judged, reference, questions = _column(table, "judge"), _column(table, "reference"), _questions(table)
    yield from measures.rating_agreement(judged, reference, questions)
    turns = sorted(table["turn"].unique())
    for turn in turns if len(turns) > 1 else ():
        in_turn = (table["turn"] == turn).to_numpy()
        yield from measures.rating_agreement(judged[in_turn], reference[in_turn], questions[in_turn], f"turn {turn}")
    units = (table["item"] + "/" + table["turn"].astype(str)).to_numpy()
    yield from measures.order_agreement(judged, reference, questions, units, table["model"].to_numpy())


def _preferences(
    table: pd.DataFrame, verdicts: Sequence[Verdict], share: Callable[[float], float]
) -> Iterator[Measure]:
    questions = _questions(table)
    yield from measures.preference_agreement(_column(table, "judge"), _column(table, "reference"), questions)
    first = np.array([np.nan if v.reply.value is None else share(v.reply.value) for v in verdicts])
    yield measures.first_shown(first, _items(verdicts))
    if {v.task.variant for v in verdicts} == set(_ORDERS):
        yield measures.order_flips(_column(table, "ab"), _column(table, "ba"), questions)


def _length(table: pd.DataFrame) -> list[Measure]:
    return measures.length_bias(_column(table, "judge"), _column(table, "padded"), _questions(table))


def _column(table: pd.DataFrame, name: str) -> Floats:
    return table[name].to_numpy(dtype=np.float64)


def _questions(table: pd.DataFrame) -> measures.Labels:
    return table["item"].to_numpy()


def _items(verdicts: Sequence[Verdict]) -> measures.Labels:
    return np.array([v.task.item for v in verdicts])


def _models(table: pd.DataFrame) -> dict[str, Json]:
    """Mean verdicts per model, over the verdicts that judge and reference both have."""
    both = table[table["judge"].notna()]
    return {
        str(name): {"judge": float(rows["judge"].mean()), "reference": float(rows["reference"].mean()), "n": len(rows)}
        for name, rows in both.groupby("model")
    }


def _transferable(case: Case, table: pd.DataFrame) -> Transferable | None:
    """What transfers scores of the benchmark's first metric, from the answers that both judges have a verdict on."""
    both = table[table["judge"].notna()]
    if both.empty or not case.recorded.mean:
        return None
    models = {
        str(name): Labelled(_column(rows, "judge"), _column(rows, "reference"), _questions(rows))
        for name, rows in both.groupby("model", sort=False)
    }
    every = list(models.values())
    wins = case.recorded.share is not None and binary(every)
    (metric, *_) = benchmarks.opened(next(iter(case.plain.values()))).metrics
    return Transferable(metric.name, wins, label_sums(every), left_out(models, wins=wins))


def _cost(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    """The price of 1000 verdicts (None if any price is unknown); mean seconds and tokens per verdict."""
    prices = [v.reply.price_usd for v in verdicts if v.reply.price_usd is not None]
    return {
        "usd_per_1000_verdicts": 1000 * sum(prices) / len(prices) if len(prices) == len(verdicts) else None,
        "seconds_per_verdict": float(np.mean([v.reply.latency_s for v in verdicts])),
        "tokens_per_verdict": float(np.mean([v.reply.prompt_tokens + v.reply.completion_tokens for v in verdicts])),
    }


def rows(calibration: Calibration) -> pd.DataFrame:
    """The calibration as a tidy table: a row per measure, the costs of a verdict, what transferred scores are worth."""
    lead = {k: getattr(calibration, k) for k in ("judge", "protocol", "benchmark", "reference")}
    measured: list[dict[str, Any]] = [lead | asdict(m) for m in calibration.measures]
    cost = [lead | {"name": name, "part": "all", "value": value} for name, value in calibration.cost.items()]
    transfers = [lead | row for row in _transfer_rows(calibration.transferable)]
    frame = pd.DataFrame([*measured, *cost, *transfers]).rename(columns={"name": "measure"}).drop(columns="clusters")
    return frame.astype({"value": "Float64", "low": "Float64", "high": "Float64", "n": "Int64", "total": "Int64"})


def _transfer_rows(known: Transferable | None) -> Iterator[dict[str, Any]]:
    """By method the share of recorded models whose score the interval holds; each model left out, by all methods."""
    if known is None or not known.left_out:
        return
    total = len(known.left_out)
    for method in known.methods:
        held = known.held(method)
        yield {"name": f"transfer_held_{method}", "part": "all", "value": held / total, "n": held, "total": total}
    for model, out in known.left_out.items():
        yield {"name": "reference_score", "part": model, "value": out.reference}
        for method, made in out.transferred.items():
            yield {"name": f"transferred_{method}", "part": model, **vars(made)}
