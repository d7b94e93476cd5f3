"""A run's teachers beside the papers': outcomes by teacher and base, how scores predicted them, sizes in families."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from harness.core.errors import HarnessError
from harness.record.run import MetricRecord
from harness.report.measure import Estimate
from harness.report.tables import Column, Entry, metric_title
from harness.report.teacher_page import is_trained
from harness.report.teacher_tables import estimates, score_title
from harness.report.teachers import TeacherData, larger_models, load_teachers, validation
from harness.teachers.validation import MEAN
from harness_papers.layout import Block, Quoted, evened, quoted
from harness_papers.own import OwnRun, metrics_of, protocol, taught

LC, WR = ("alpaca_eval", "length_controlled_win_rate"), ("alpaca_eval", "win_rate")
HARD = ("arena_hard", "win_rate")
_AP_NOTE = "A run's AP is the mean of its LC and Arena-Hard, without an interval; n/total counts both."


def by_generator(run: OwnRun, name: str, paper: str, *, averages_only: bool) -> Block:
    """Generator x base. With AlpacaEval and Arena-Hard in the run: AP (and WR, LC, Arena-Hard); else what it has.

    Raises:
        HarnessError: the run does not sweep teachers, or has no such scores.
    """
    pairs = taught(run, name)
    metrics = metrics_of(run, ("alpaca_eval", "arena_hard", "pocket"), name)
    known = {(m.benchmark, m.metric): m for m in run.data.metrics}
    averaged = [known[LC], known[HARD]] if LC in known and HARD in known else []
    if averaged:
        metrics = averaged if averages_only else [known[k] for k in (WR, LC, HARD) if k in known]
    columns: dict[str, Column] = {}
    entries: dict[tuple[str, str], Entry] = {}
    shown: list[Entry] = []
    for (teacher, base), group in pairs.items():
        found = {f"{metric_title(m, run.data)}, {m.unit}": run.measures.estimate(group, m) for m in metrics}
        shown += found.values()
        if averaged:
            average = _average([run.measures.estimate(group, m) for m in averaged])
            found = ({} if averages_only else found) | {"AP, %": average}
        for title, entry in found.items():
            heading = f"{title} ({run.source})"
            key = f"{base}, {heading}"
            columns[key] = Column(key, key, "", "number", heading)
            entries[teacher, key] = entry
    rows = {teacher: (teacher,) for teacher, _ in pairs}
    return Block(
        run.source,
        rows,
        _by_base(columns, pairs),
        evened(entries),
        (*protocol(run, paper, metrics, shown), *([_AP_NOTE] if averaged else [])),
    )


def _average(parts: Sequence[Estimate | None]) -> Estimate | None:
    """AP, with the samples and the marks of both its parts; None where one is missing."""
    known = [e for e in parts if e is not None and e.value is not None]
    if len(known) < len(parts):
        return None
    marks = tuple(dict.fromkeys(mark for e in known for mark in e.marks))
    value = sum(e.value for e in known if e.value is not None) / len(known)
    n, total = sum(e.n for e in known), sum(e.total for e in known)
    return Estimate(value, None, None, None, n, total, min(e.seeds for e in known), marks)


def _by_base(columns: Mapping[str, Column], pairs: Mapping[tuple[str, str], object]) -> dict[str, Column]:
    """The columns of one base next to each other."""
    bases = list(dict.fromkeys(base for _, base in pairs))
    place = {key: next(k for k, base in enumerate(bases) if key.startswith(f"{base}, ")) for key in columns}
    return dict(sorted(columns.items(), key=lambda item: place[item[0]]))


def teachers_of(run: OwnRun, name: str) -> TeacherData:
    """The run's teacher scores with their outcomes.

    Raises:
        HarnessError: it has no teacher scores, or trained no students on them.
    """
    try:
        data = load_teachers(run.folder)
    except HarnessError as error:
        raise HarnessError(f"nothing for {name}: {error.what}", where=run.source, fix=error.fix) from None
    if not is_trained(data):
        fix = "Give its recipe `train` and `evaluate`, as in recipes/pocket-teachers.yaml, and run it."
        raise HarnessError(f"nothing for {name}: it lacks students' outcomes", where=run.source, fix=fix)
    return data


def by_score(run: OwnRun, name: str, paper: str, wanted: Callable[[str], bool], known: Mapping[str, str]) -> Block:
    """Score x base: Spearman with the outcome, as `harness teachers validate` has it.

    Args:
        run: The run.
        name: The table it is for.
        paper: The paper's protocol in words.
        wanted: Whether a score or baseline belongs in this table.
        known: The run's score -> the row it shares with the paper; other scores get rows of their own.

    Raises:
        HarnessError: the run has no teacher scores, or trained no students on them.
    """
    found = validation(teachers_of(run, name))
    found = found[(found["statistic"] == "spearman") & found["score"].map(wanted)]
    rows: dict[str, tuple[str, ...]] = {}
    columns: dict[str, Column] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for (outcome, student), group in found.groupby(["outcome", "student"], sort=False):
        short = str(outcome).partition(".")[2].replace("_", " ")
        heading = f"{short} ({run.source})"
        key = f"{'mean' if student == MEAN else student}, {heading}"
        columns[key] = Column(key, key, "", "number", heading)
        for score, entry in zip(group["score"], estimates(group, 2), strict=True):
            row = known.get(str(score), str(score))
            rows[row] = (score_title(str(score)),)
            if entry.value is not None:
                entries[row, key] = entry
    return Block(run.source, rows, columns, entries, _caption(run, paper, list(dict.fromkeys(found["outcome"]))))


def by_size(run: OwnRun, name: str, paper: str) -> Block:
    """Family and base: does the bigger teacher make the better student?

    Raises:
        HarnessError: the run has no teacher scores, no outcomes, or no two teachers of one family and different sizes.
    """
    data = teachers_of(run, name)
    assert data.run is not None, "it is trained"
    metrics = [m for m in data.run.metrics if m.headline]
    parts = [
        paradox_block(larger_models(data, (m.benchmark, m.metric)), f"{run.source}, {m.metric.replace('_', ' ')}")
        for m in metrics
    ]
    if not any(part.entries for part in parts):
        raise HarnessError(
            f"nothing for {name}: it lacks two teachers of one family with different sizes",
            where=run.source,
            fix="Name families (and sizes) under `teachers.about`.",
        )
    return Block(
        run.source,
        {key: texts for part in parts for key, texts in part.rows.items()},
        parts[0].columns,
        {place: _as_run(e) for part in parts for place, e in part.entries.items()},
        _caption(run, paper, [f"{m.benchmark}.{m.metric}" for m in metrics]),
    )


def _as_run(entry: Entry) -> Entry:
    """A derived share as an estimate of the run's own."""
    assert isinstance(entry, Quoted), "made by paradox_block"
    return Estimate(entry.value, entry.low, entry.high, None, entry.n or 0, entry.total or 0, 1, decimals=2)


def paradox_block(found: pd.DataFrame, source: str) -> Block:
    """The rows of `teachers.paradox` as a block; one row per family and base, then the pooled ones."""
    share = Column("share", "bigger is better", "share of pairs", "number")
    rows: dict[str, tuple[str, ...]] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for r in found[found["pairs"] > 0].to_dict("records"):
        key = f"{source}: {r['student']} / {r['family']}"
        texts = [str(r[k]) if not pd.isna(r[k]) else "–" for k in ("student", "family", "teachers", "sizes_b")]
        rows[key] = (*texts, str(r["outcomes"]) if not pd.isna(r["outcomes"]) else "–", source)
        counts = (round(r["share"] * r["pairs"]), int(r["pairs"]))
        entries[key, "share"] = quoted(r["share"], 2, "derived", (r["low"], r["high"]), counts)
    return Block(source, rows, {"share": share}, entries)


def _caption(run: OwnRun, paper: str, outcomes: Sequence[str]) -> tuple[str, ...]:
    metrics: list[MetricRecord] = [m for m in run.data.metrics if f"{m.benchmark}.{m.metric}" in outcomes]
    shown = [run.measures.estimate(g, m) for g in run.groups for m in metrics]
    return protocol(run, paper, metrics, shown)
