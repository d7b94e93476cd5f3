"""What a run's record says of transferred scores, where the calibration of its judge has verdicts to transfer."""

from collections.abc import Iterator

from harness.bench.audit import scored_rows
from harness.calibration import calibration
from harness.plan.build import Evaluated
from harness.record import judges
from harness.record.run import CorrectedScore, TransferRecord
from harness.stages import score
from harness.stages.judge import resolved
from harness.stats.spread import Rows
from harness.stats.transfer import METHODS, transfer
from harness.store.store import Store


def transfers(cell: str, evaluated: Evaluated, store: Store) -> Iterator[TransferRecord]:
    """A row for the metric of a cell that the calibration of its judge can transfer; its scores are finished.

    A panel is not transferred: its judges are calibrated one by one.
    """
    if len(evaluated.judged) != 1 or "program" in evaluated.judged[0].verdicts.params["judge"]:
        return
    verdicts = evaluated.judged[0].verdicts
    known = calibration.find(calibration.records(store), resolved(verdicts.params, verdicts.execution).digest)
    basis = known.transferable if known is not None else None
    metric = next((m for m in score.metrics(evaluated.score) if basis is not None and m.name == basis.metric), None)
    if known is None or basis is None or metric is None:
        return
    samples, _ = score.read(store.path(evaluated.score.id))
    live = scored_rows(samples[samples["metric"] == metric.name])
    unit = 100.0 if "%" in metric.unit else 1.0
    made = transfer(Rows(live.values / unit, live.clusters, live.units), basis.labels, wins=basis.wins)
    if not made:
        return
    scores = {
        method: CorrectedScore(unit * s.value, unit * s.low, unit * s.high, basis.held(method))
        for method in METHODS
        if (s := made.get(method)) is not None
    }
    yield TransferRecord(
        cell=cell,
        benchmark=evaluated.benchmark,
        metric=metric.name,
        judge=judges.name(verdicts),
        reference=known.reference,
        live=float(live.values.mean()),
        models=tuple(basis.left_out),
        scores=scores,
    )
