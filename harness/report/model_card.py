"""The model card of one cell: what it was trained on, what it scored and how sure that is, as the hub reads it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml

from harness.record.run import CellRecord, MetricRecord
from harness.report import facts
from harness.report.comparisons import comparisons
from harness.report.groups import Group, group_cells, single
from harness.report.load import RunData
from harness.report.measure import Estimate, Measures
from harness.report.numbers import digits
from harness.report.render_table import to_markdown
from harness.report.tables import Column, Table, benchmark_title, mark_notes, metric_title


@dataclass(frozen=True)
class Source:
    """A model or dataset that a cell was made from."""

    role: str
    """`student`, `teacher`, `data train`."""
    name: str
    """As the recipe names it, e.g. `hf:ORG/NAME`."""
    licence: str
    """As its maker states it; empty where nothing at hand does."""


def model_card(run: RunData, cell: CellRecord, sources: Sequence[Source]) -> str:
    """The card as Markdown with the hub's metadata at its head."""
    measures = Measures(run)
    group = single(cell)
    metrics = [metric for metric in run.metrics if metric.headline]
    estimates = [(metric, measures.estimate(group, metric)) for metric in metrics]
    scored = [(metric, estimate) for metric, estimate in estimates if estimate is not None]
    row = next(g for g in group_cells(run) if cell in g.cells)
    parts = [
        _metadata(run, cell, sources, scored),
        f"# {run.name}: {group.title}\n",
        f"{run.description}\n" if run.description else "",
        f"One cell of an ablation: {facts.sweep_in_words(run)} The recipe is beside this card (`recipe.yaml`); "
        "`provenance.json` has versions and hardware.\n",
        _section("Made from", to_markdown(_sources(sources))),
        _section("Training", to_markdown(trained)) if (trained := _training(run, cell)) else "",
        _section("Scores", to_markdown(_scores(run, measures, group, scored))),
        _section("Against its baseline", _verdicts(run, measures, row)),
        _section("Warnings", "".join(f"- {line}\n" for line in facts.warnings(run, measures)) or "None.\n"),
    ]
    return "\n".join(part for part in parts if part)


HUB_DATASETS = {
    "alpaca_eval": "tatsu-lab/alpaca_eval",
    "arena_hard": "lmarena-ai/arena-hard-auto",
    "mt_bench": "HuggingFaceH4/mt_bench_prompts",
}
"""Benchmark -> its dataset on the hub, under which the hub files a score."""


def eval_results(run: RunData, cell: CellRecord) -> str:
    """The scores on benchmarks that are datasets of the hub, as the YAML of `.eval_results/`; empty without any.

    The judge and the interval stand in each score's notes: scores by other judges are not to be compared with it.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    measures, judges = Measures(run), {j.benchmark: j.judge for j in run.judges}
    entries = []
    for metric in run.metrics:
        estimate = measures.estimate(single(cell), metric) if metric.headline else None
        if metric.benchmark not in HUB_DATASETS or estimate is None or estimate.value is None:
            continue
        known = estimate.low is not None and estimate.high is not None
        interval = [f"95 % interval {estimate.low:.4g} to {estimate.high:.4g}"] if known else []
        judge = [f"judge {judges[metric.benchmark]}"] if metric.benchmark in judges else []
        entries.append(
            EvalResultEntry(
                dataset_id=HUB_DATASETS[metric.benchmark],
                task_id=metric.metric,
                value=round(estimate.value, 6),
                date=run.created,
                notes="; ".join([f"{metric.metric} in {metric.unit}", *interval, *judge]),
            )
        )
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False) if entries else ""


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _metadata(
    run: RunData, cell: CellRecord, sources: Sequence[Source], scored: Sequence[tuple[MetricRecord, Estimate]]
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    on_hub = {role: [s.name[3:].partition("@")[0] for s in sources if _hub(s, role)] for role in ("student", "data")}
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=metric.benchmark,
            dataset_name=benchmark_title(metric.benchmark),
            metric_type=metric.metric,
            metric_name=f"{metric_title(metric, run)} ({metric.unit})",
            metric_value=round(estimate.value, 6),
        )
        for metric, estimate in scored
        if estimate.value is not None
    ]
    data = ModelCardData(
        base_model=on_hub["student"] or None,
        datasets=on_hub["data"] or None,
        eval_results=results or None,
        library_name="transformers",
        model_name=f"{run.name} {cell.cell}",
        pipeline_tag="text-generation",
        tags=["distillation"] if any(s.role == "teacher" for s in sources) else None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _hub(source: Source, role: str) -> bool:
    return source.name.startswith("hf:") and source.role.startswith(role)


def _sources(sources: Sequence[Source]) -> Table:
    rows = tuple((s.role, s.name, s.licence or "not stated here: ask its maker") for s in sources)
    return Table(
        "sources", "Made from", (Column("role", ""), Column("name", "name"), Column("licence", "licence")), rows
    )


def _training(run: RunData, cell: CellRecord) -> Table | None:
    table = facts.training_table(run)
    if table is None:
        return None
    rows = tuple(row[1:] for row in table.rows if row[0] == cell.cell)
    return Table("training", "Training", table.columns[1:], rows) if rows else None


def _scores(run: RunData, measures: Measures, group: Group, scored: Sequence[tuple[MetricRecord, Estimate]]) -> Table:
    judges = {j.benchmark: j.judge for j in run.judges}
    rows = tuple(
        (
            metric_title(m, run),
            _rounded(e),
            m.unit,
            judges.get(m.benchmark, ""),
            measures.incomplete(group, m.benchmark),
        )
        for m, e in scored
    )
    columns = (
        Column("metric", "metric"),
        Column("score", "score", "", "estimate"),
        Column("unit", "unit"),
        Column("judge", "judge"),
        Column("incomplete", "incomplete answers, %", kind="number"),
    )
    note = "Brackets: 95 % intervals over questions, of this checkpoint alone."
    return Table("scores", "Scores", columns, rows, (note, *mark_notes(rows)))


def _rounded(estimate: Estimate) -> Estimate:
    """The estimate with the decimals that its interval deserves: where nothing was right its error is 0."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, decimals=digits((estimate.high - estimate.low) / 4))


def _verdicts(run: RunData, measures: Measures, row: Group) -> str:
    """What the run says of the cell's row: its replicates together."""
    mine = [c for c in comparisons(run, measures) if c.group.name == row.name]
    count = len(row.replicates())
    said = "".join(f"- **{verdict}**: {sentence}\n" for verdict, sentence in facts.findings(run, mine))
    return said + (f"\nOver {count} replicates, of which this is one.\n" if said and count > 1 else "")
