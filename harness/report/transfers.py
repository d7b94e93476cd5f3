"""The table of transferred scores: the judge's, and what recorded verdicts on other models' answers make of them."""

from dataclasses import replace

from harness.calibration.calibration import FEWEST_MODELS
from harness.record.run import CorrectedScore, TransferRecord
from harness.report.load import RunData
from harness.report.measure import TRANSFERRED, UNPROVEN, Estimate
from harness.report.tables import Column, Entry, Table, benchmark_title, mark_notes
from harness.stats.transfer import METHODS, PPI, ROGAN_GLADEN, TUNED

_TITLES = {PPI: "by PPI", TUNED: "by PPI++", ROGAN_GLADEN: "by Rogan-Gladen"}
_NOTE = (
    "A transferred score is what the reference would have said if the judge errs on these answers as it does on the "
    "recorded models': PPI takes its mean error to be the same, PPI++ the reference's verdict where the judge's is the "
    "same, Rogan-Gladen the judge's where the reference's is the same. No answer here was shown to the reference, so "
    "this is no audit."
)


def transfer_table(run: RunData) -> Table | None:
    """A row per cell whose judge has a calibration that transfers; None for a run without any."""
    if not run.transfers:
        return None
    used = [method for method in METHODS if any(method in made.scores for made in run.transfers)]
    columns = (
        Column("cell", "cell"),
        Column("metric", "metric"),
        Column("live", "judge's own", kind="estimate"),
        *(Column(f"transferred_{method}", f"transferred {_TITLES[method]}", kind="estimate") for method in used),
        Column("held", "held when left out"),
        Column("judges", "judge, reference"),
    )
    best = {(key, method): cell for method in used for key, cell in _best(run, method).items()}
    rows = tuple(_row(run, made, used, best) for made in run.transfers)
    floor = f"{100 * run.settings.transfer_floor:g} %"
    held = (
        "Held when left out: each recorded model in turn was scored from the others' labels; so many of the 95 % "
        f"intervals held the reference's own score of it. Below {floor}, or with fewer than {FEWEST_MODELS} models, a "
        "transferred score is not ranked."
    )
    return Table("transfers", "Transferred scores", columns, rows, (_NOTE, held, *mark_notes(rows)))


def _row(
    run: RunData, made: TransferRecord, used: list[str], best: dict[tuple[tuple[str, str], str], str]
) -> tuple[Entry, ...]:
    key = (made.benchmark, made.metric)
    shown = [
        replace(_estimate(run, made, score), best=best.get((key, method)) == made.cell)
        if (score := made.scores.get(method))
        else None
        for method in used
    ]
    held = [f"{_TITLES[m].removeprefix('by ')} {s.held} of {len(made.models)}" for m, s in made.scores.items()]
    return (
        made.cell,
        f"{benchmark_title(made.benchmark)} {made.metric.replace('_', ' ')}",
        Estimate(made.live, None, None, None, 0, 0, 0),
        *shown,
        ", ".join(held),
        f"{made.judge}, {made.reference}",
    )


def _estimate(run: RunData, made: TransferRecord, score: CorrectedScore) -> Estimate:
    marks = (TRANSFERRED,) if _proven(run, made, score) else (TRANSFERRED, UNPROVEN)
    return Estimate(score.value, score.low, score.high, None, 0, 0, 0, marks)


def _proven(run: RunData, made: TransferRecord, score: CorrectedScore) -> bool:
    """Whether enough recorded models were left out, and enough of their scores held."""
    models = len(made.models)
    return models >= FEWEST_MODELS and score.held >= run.settings.transfer_floor * models


def _best(run: RunData, method: str) -> dict[tuple[str, str], str]:
    """By benchmark and metric the cell with the highest score of those that may be ranked, where there are several."""
    ranked: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for made in run.transfers:
        score = made.scores.get(method)
        if score is not None and _proven(run, made, score):
            ranked.setdefault((made.benchmark, made.metric), []).append((score.value, made.cell))
    return {key: max(scores)[1] for key, scores in ranked.items() if len(scores) > 1}
