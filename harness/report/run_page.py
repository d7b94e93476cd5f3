"""A run folder in, its report out: report.html (self-contained), report.md, each table and figure as a file."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.report import facts
from harness.report.answers import answers
from harness.report.audits import audit_table
from harness.report.browser import browser_data, safe_json
from harness.report.comparisons import (
    against_title,
    axis_comparisons,
    axis_title,
    comparison_table,
    comparisons,
    unlike,
)
from harness.report.costs import cost_table
from harness.report.data_facts import contamination_table, mix_table
from harness.report.endings import ending_table, with_incomplete
from harness.report.experts import router_table
from harness.report.figures import drawings
from harness.report.groups import group_cells
from harness.report.load import RunData, load_run
from harness.report.measure import Measures
from harness.report.page import Page, Section, parts, write
from harness.report.panels import panel_tables
from harness.report.profiles import datasets, example_table, profile_table
from harness.report.signal import signal_table
from harness.report.tables import category_table, headline_table
from harness.report.transfers import transfer_table
from harness.report.variance import variance_table


def render(run_folder: Path, out_folder: Path) -> Path:
    """Write the report of a run into `out_folder`; returns the page's path."""
    run = load_run(run_folder)
    return write(_page(run, Measures(run)), out_folder)


def _page(run: RunData, measures: Measures) -> Page:
    compared = comparisons(run, measures)
    by_category = [category_table(run, measures, m.live) for m in run.metrics if m.headline]
    categories = [table for table in by_category if table is not None]
    comparison = comparison_table(run, compared, title=against_title(compared)) if compared else None
    uncertainty, signal = variance_table(run, compared), signal_table(run, measures)
    findings = facts.findings(run, compared)
    by_axis = axis_comparisons(run, measures)
    ablations = [
        comparison_table(run, tests, f"comparisons_{axis}", axis_title(run, axis)) for axis, tests in by_axis.items()
    ]
    scores, judges = with_incomplete(headline_table(run, measures), measures), facts.judge_table(run)
    audits, transfers, panels = audit_table(run), transfer_table(run), panel_tables(run, measures)
    said = tuple(f"**{verdict}**: {sentence}" for verdict, sentence in findings)
    profiles = {"data": profile_table(run), "data_examples": example_table(run)}
    data = {"training": facts.training_table(run), "mixes": mix_table(run), "contamination": contamination_table(run)}
    behind = profiles | data | {"router": router_table(run, group_cells(run)), "costs": cost_table(run)}
    endings = ending_table(measures)
    figures = list(drawings(run, measures))
    drawn = {drawing.section for drawing in figures}
    return Page(
        stem="report",
        title=run.name,
        heading=run.name,
        description=run.description,
        summary=" ".join(filter(None, [facts.sweep_in_words(run), facts.reach_in_words(run, compared)])),
        warnings=[*facts.warnings(run, measures), *unlike(compared)],
        answers=answers(run, measures, compared, by_axis),
        parts=parts(
            ("scores", "Scores", True),
            ("comparisons", "Comparisons", bool(compared)),
            ("axes", "Axes", bool(ablations)),
            ("categories", "Categories", bool(categories)),
            ("tradeoff", "Trade-off", "tradeoff" in drawn),
            ("samples", "Samples", True),
            ("trained-on", "Data", bool(run.profiles)),
            ("training", "Training", any(data.values()) or "training" in drawn),
            ("experts", "Experts", behind["router"] is not None),
            ("provenance", "Provenance", True),
        ),
        sections=[
            Section("Scores", scores),
            *([Section(endings.title, endings, level=3)] if endings else []),
            *([Section("Judges", judges, level=3)] if judges else []),
            *(Section(panel.title, panel, level=3) for panel in panels),
            *([Section("Audits", audits, level=3)] if audits else []),
            *([Section(transfers.title, transfers, level=3)] if transfers else []),
            *([Section(signal.title, signal, level=3)] if signal else []),
            *([Section(comparison.title, comparison, said)] if comparison else []),
            *([Section(uncertainty.title, uncertainty, level=3)] if uncertainty else []),
            *(Section(table.title, table) for table in (*ablations, *categories)),
        ],
        behind=[Section(table.title, table) for table in behind.values() if table],
        facts=facts.cost(run) + facts.provenance(run),
        facts_title="Cost and provenance",
        figures=figures,
        content=behind
        | _samples(run)
        | {"scores": scores, "endings": endings, "judges": judges, "audits": audits, "transfers": transfers}
        | {"compared": comparison, "panels": panels}
        | {"uncertainty": uncertainty, "signal": signal, "findings": findings}
        | {"ablations": ablations, "categories": categories}
        | {"recipe": run.recipe, "datasets": datasets(run)},
    )


def _samples(run: RunData) -> dict[str, Any]:
    """The sample browser's data."""
    data = browser_data(run)
    return {
        "samples": Markup(safe_json(data)),  # noqa: S704 (escaped by safe_json)
        "sample_count": len(data["items"]),
        "cut": data["cut"],
    }
