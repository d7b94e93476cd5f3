"""What a report says in words: warnings, findings, judges, provenance."""

from collections.abc import Sequence

from harness.core.canonical import Json
from harness.record.run import TrainingRecord
from harness.report.comparisons import Comparison
from harness.report.data_facts import contamination_warnings
from harness.report.groups import group_cells
from harness.report.load import SEED_AXIS, RunData
from harness.report.measure import COVERAGE, Estimate, Measures
from harness.report.numbers import digits, duration, number, plain
from harness.report.tables import Column, Table, benchmark_title, metric_title
from harness.stats.intervals import Difference

_REPEATABLE = "Nothing that is known: the same recipe on the same machine gives the same scores to the byte."


def warnings(run: RunData, measures: Measures) -> list[str]:
    """What a reader must know before believing a number, the run's own warnings first."""
    found = list(run.warnings)
    found += [f"{c.cell} failed: {c.failed}" for c in run.cells if c.failed]
    found += contamination_warnings(run)
    groups = group_cells(run)
    for metric in (m for m in run.metrics if m.headline):
        estimates = [(g, measures.estimate(g, metric)) for g in groups]
        short = [f"{g.title} ({e.n}/{e.total})" for g, e in estimates if e is not None and COVERAGE in e.marks]
        if short:
            found.append(
                f"{metric_title(metric, run)}: not every sample was scored for {', '.join(short)}. "
                "These scores are over what was scored, not ranked and not tested."
            )
    audited = {made.benchmark for made in run.audits}  # whose scores are the reference's, whatever the judge is worth
    alone = [j for j in run.judges if j.benchmark not in audited]
    for benchmark in dict.fromkeys(j.benchmark for j in alone if j.calibrated is False):
        names = ", ".join(dict.fromkeys(j.judge for j in run.judges if j.benchmark == benchmark))
        found.append(
            f"{benchmark_title(benchmark)}: the judge ({names}) is not calibrated. "
            "It may order models; its scores mean no more."
        )
    for judge in (j for j in alone if j.uninformative):
        found.append(
            f"{benchmark_title(judge.benchmark)}: the judge ({judge.judge}) is uninformative: {judge.note}. "
            "Its scores are not ranked and not tested."
        )
    for benchmark in dict.fromkeys(j.benchmark for j in run.judges):
        asked = {j.panel or f"{j.judge}, {j.protocol}" for j in run.judges if j.benchmark == benchmark}
        if len(asked) > 1:
            names = "; ".join(sorted(asked))
            found.append(f"{benchmark_title(benchmark)}: several judges ({names}). Their scores must not be compared.")
    if run.training and len(run.axes.get(SEED_AXIS, ())) < 2:
        found.append("One seed: every interval is over questions only. Training again may move any score further.")
    if run.git.get("dirty"):
        found.append("The code had uncommitted changes when this ran.")
    return found


def findings(run: RunData, compared: Sequence[Comparison]) -> list[tuple[str, str]]:
    """(verdict, sentence) of each comparison, the clear ones first."""
    order = {"better": 0, "worse": 1, "no difference shown": 2, "underpowered": 3, "not tested": 4}
    ranked = sorted(compared, key=lambda c: order[c.verdict])
    return [(c.verdict, _sentence(run, c)) for c in ranked]


def _sentence(run: RunData, c: Comparison) -> str:
    who = f"{c.group.title} against {c.base.title} on {metric_title(c.metric, run)}"
    if c.difference is None:
        return f"{who}: a score is missing, below the coverage floor or from an uninformative judge."
    unit = "percentage points" if c.metric.unit == "%" else c.metric.unit
    size = f"{size_text(c.difference)} {unit}"
    if c.verdict in ("better", "worse"):
        return f"{who}: {size}."
    if c.verdict == "no difference shown":
        seen = f", and ±{number(c.mde, digits(None, c.mde))} would have been seen" if c.mde else ""
        return f"{who}: {size}{seen}."
    if c.verdict == "underpowered":
        need = f"; {c.more} would show a difference of this size" if c.more else ""
        beyond = "%" in c.metric.unit and c.mde is not None and c.mde >= 100
        seen = "no difference of any size" if beyond else f"only ±{number(c.mde, digits(None, c.mde))} or more"
        return f"{who}: {size}; {seen} could have been seen{need}."
    return f"{who}: {size}, without any spread to test it by."


def size_text(difference: Difference) -> str:
    """`+6.6 [+1.8, +11.4]`."""
    return plain(Estimate(difference.value, difference.low, difference.high, difference.stderr, 0, 0, 0), sign=True)


def judge_table(run: RunData) -> Table | None:
    """Who judged what, and whether it was calibrated; None for a run without judges."""
    state = {True: "calibrated", False: "not calibrated", None: "a program"}
    rows = tuple(
        (
            benchmark_title(j.benchmark),
            j.judge,
            j.protocol,
            "uninformative" if j.uninformative else state[j.calibrated],
            j.note,
        )
        for j in run.judges
    )
    titles = ("benchmark", "judge", "protocol", "calibration", "note")
    return Table("judges", "Judges", tuple(Column(t, t) for t in titles), rows) if rows else None


def training_table(run: RunData) -> Table | None:
    """What each training step used: conversations, cuts, tokens, steps; None for a run without training."""
    selected = any(t.chosen for t in run.training)
    rows = tuple(
        (
            *(t.cell, t.step, *map(_count, (t.rows, t.skipped, t.truncated, t.response_tokens, t.steps))),
            *([_selection(t)] if selected else []),
        )
        for t in run.training
    )
    columns = (
        Column("cell", "cell"),
        Column("step", "step"),
        Column("rows", "conversations", kind="number"),
        Column("skipped", "skipped", kind="number"),
        Column("truncated", "cut short", kind="number"),
        Column("response_tokens", "response tokens", kind="number"),
        Column("steps", "optimiser steps", kind="number"),
        *([Column("chosen", "chosen by held-out loss")] if selected else []),
    )
    return Table("training", "Training", columns, rows) if rows else None


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _selection(training: TrainingRecord) -> str:
    """What was chosen, and the losses it was chosen by: `learning_rate 3e-05 (1e-05: 0.95, 3e-05: 0.91)`."""
    if not training.chosen:
        return "–"
    tried = [(", ".join(f"{c[name]:g}" for name in training.chosen), c["held_out_loss"]) for c in training.candidates]
    chosen = ", ".join(f"{name} {value:g}" for name, value in training.chosen.items())
    return f"{chosen} ({', '.join(f'{what}: {loss:.4g}' for what, loss in tried)})"


def cost(run: RunData) -> list[tuple[str, str]]:
    """What the run did and how long it took."""
    stages = run.stages
    counts = f"{stages.asked} asked for, {stages.unique} after sharing, {stages.executed} run by the last command"
    scored = int(run.samples["value"].notna().sum())
    facts = [
        ("stages", counts),
        ("time of its stages, one after the other", duration(stages.seconds)),
        ("samples", f"{scored:,} scored of {len(run.samples):,}"),
    ]
    if run.training:
        tokens = sum(t.response_tokens or 0 for t in run.training)
        facts.append(("trained on", f"{tokens:,} response tokens a pass, all cells"))
    return facts


def provenance(run: RunData) -> list[tuple[str, str]]:
    """Where the numbers come from."""
    facts = [("run", run.name), ("created", run.created), ("command", run.command)]
    if run.git.get("commit"):
        facts.append(("code", f"{run.git['commit']}{' with uncommitted changes' if run.git.get('dirty') else ''}"))
    facts.append(("hardware", ", ".join(_fact(k, v) for k, v in run.hardware.items())))
    facts.append(("versions", ", ".join(f"{k} {v}" for k, v in run.versions.items())))
    facts.append(("may differ when run again", " ".join(run.not_repeatable) or _REPEATABLE))
    return [(k, v) for k, v in facts if v]


def _fact(key: str, value: Json) -> str:
    return (
        str(value)
        if key in ("cpu", "machine", "platform")
        else f"{key.replace('_gb', ' (GiB)').replace('_', ' ')} {value}"
    )


def sweep_in_words(run: RunData) -> str:
    """One sentence: what was varied and what was held beside it."""
    axes = [f"{axis.replace('_', ' ')} ({', '.join(labels)})" for axis, labels in run.axes.items()]
    swept = sum(not c.baseline for c in run.cells)
    baselines = [c.cell for c in run.cells if c.baseline]
    if not swept:
        return f"No sweep: {', '.join(baselines)}."
    beside = f"; beside them {', '.join(baselines)}" if baselines else ""
    if not axes:
        return f"{swept} cell{'s' * (swept != 1)}{beside}."
    return f"{swept} cells from {' × '.join(axes)}{beside}."
