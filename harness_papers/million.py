"""A Teacher Is Worth A Million Instructions, arXiv 2406.19112: the main table and the radar."""

from collections.abc import Sequence

from harness.record.run import MetricRecord
from harness.report.figures import radar_categories
from harness.report.measure import OVERALL
from harness.report.tables import Column, Entry, metric_title
from harness_papers import drawing, published
from harness_papers.item import Item
from harness_papers.layout import Block, evened, printed
from harness_papers.own import OwnRun, metrics_of, protocol

_PAPER = (
    "Mistral-7B and 2x7B taught by Mixtral-8x7B-Instruct; MT-Bench and AlpacaEval with GPT-4 as judge, as their "
    "authors define them; judge version and answer limits are not at hand"
)
_COLUMNS = (Column("mt_bench", "MT-Bench", "1-10", "number"), Column("alpaca_eval", "AlpacaEval", "% wins", "number"))
_AS_PRINTED = {("mt_bench", "score"): "mt_bench", ("alpaca_eval", "win_rate"): "alpaca_eval"}
_LEAD = (Column("model", "model"), Column("size", "size"), Column("kind", "whose"))


def _main() -> Block:
    frame = published.table("teacher_million_main")
    frame["kind"] = frame["ours"].map({1: "the paper's", 0: "others'"})
    return printed(frame, [c.key for c in _LEAD], _COLUMNS)


def _main_of(run: OwnRun) -> Block:
    metrics = metrics_of(run, ("mt_bench", "alpaca_eval", "pocket"), "teacher_million_main")
    columns = {_key(m): _column(m, run) for m in metrics}
    rows: dict[str, tuple[str, ...]] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for group in run.groups:
        row = f"{run.source}: {group.name}"
        rows[row] = (group.title, "–", run.source)
        for metric in metrics:
            entries[row, _key(metric)] = run.measures.estimate(group, metric)
    return _block(run, metrics, rows, columns, entries)


def _key(metric: MetricRecord) -> str:
    return _AS_PRINTED.get((metric.benchmark, metric.metric), f"{metric.benchmark}_{metric.metric}")


def _column(metric: MetricRecord, run: OwnRun) -> Column:
    """The paper's own column where it prints this metric."""
    known = {c.key: c for c in _COLUMNS}
    return known.get(_key(metric)) or Column(_key(metric), metric_title(metric, run.data), metric.unit, "number")


def _radar() -> Block:
    frame = published.table("teacher_million_radar_by_eye").set_index("category").T
    frame.columns = [str(c).lower() for c in frame.columns]
    frame = frame.rename(index=published.RADAR_MODELS).rename_axis("model").reset_index()
    columns = [Column(c, c, "", "number") for c in frame.columns if c != "model"]
    return printed(frame, ["model"], columns, "by eye")


def _radar_of(run: OwnRun) -> Block:
    metrics = metrics_of(run, ("mt_bench", "pocket"), "teacher_million_radar_by_eye")
    rows: dict[str, tuple[str, ...]] = {}
    columns: dict[str, Column] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for metric in metrics:
        prefix = "" if metric.benchmark == "mt_bench" else f"{metric.metric.removesuffix('_score')}: "
        for category in radar_categories(run.data, metric):
            key = prefix + category
            columns[key] = Column(key, key.replace("_", " "), "" if not prefix else metric.unit, "number")
            for group in run.groups:
                row = f"{run.source}: {group.name}"
                rows[row] = (f"{group.title} ({run.source})",)
                entries[row, key] = run.measures.estimate(group, metric, category)
    return _block(run, metrics, rows, columns, entries)


def _block(
    run: OwnRun,
    metrics: Sequence[MetricRecord],
    rows: dict[str, tuple[str, ...]],
    columns: dict[str, Column],
    entries: dict[tuple[str, str], Entry],
) -> Block:
    overall = [run.measures.estimate(g, m, OVERALL) for g in run.groups for m in metrics]
    return Block(run.source, rows, columns, evened(entries), protocol(run, _PAPER, metrics, overall))


ITEMS = (
    Item(
        "teacher_million_main",
        "MT-Bench and AlpacaEval of dense and MoE students",
        "arXiv 2406.19112, main table",
        "published",
        _LEAD,
        _main,
        note="What alpha and beta in the names stand for is in no source at hand.",
        own=_main_of,
        draw=drawing.models,
        caption="MT-Bench. Filled: published, the paper's own models in colour; with an interval: a run.",
        together=True,
    ),
    Item(
        "teacher_million_radar_by_eye",
        "MT-Bench by category",
        "arXiv 2406.19112, radar figure",
        "by eye",
        _LEAD[:1],
        _radar,
        own=_radar_of,
        draw=drawing.radar,
        caption="MT-Bench by category. Dashed, with open markers: read off the paper's figure by eye; solid: a run.",
        together=True,
    ),
)
