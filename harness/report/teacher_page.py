"""A run's teachers as a page: leaderboards, CAR as beta moves, and what the scores told of the outcomes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report import teacher_facts
from harness.report.html import environment, frame
from harness.report.render_table import to_csv, to_latex
from harness.report.style import save
from harness.report.tables import Table
from harness.report.teacher_figures import drawings
from harness.report.teacher_reversals import reversals_table
from harness.report.teacher_tables import (
    board_tables,
    counts_table,
    crossings_table,
    file_name,
    scores_table,
    sweep_table,
)
from harness.report.teacher_validation import paradox_table, validation_table
from harness.report.teachers import TeacherData, larger_models, validation
from harness.teachers.validation import MEAN


def render(data: TeacherData, out: Path) -> Path:
    """Write teachers.html, teachers.md, tables/teachers_* and figures/teachers_* into `out`; returns the page's path.

    Raises:
        HarnessError: scores or outcomes that cannot be compared (see `report.teachers`).
    """
    for name in ("tables", "figures"):
        (out / name).mkdir(parents=True, exist_ok=True)
    found = validation(data) if is_trained(data) else None
    content = _content(data, found)
    for table in _all_tables(content):
        (out / "tables" / f"{table.name}.csv").write_text(to_csv(table), encoding="utf-8")
        (out / "tables" / f"{table.name}.tex").write_text(to_latex(table), encoding="utf-8")
    for name, rows in (("teachers_leaderboard", data.board), ("teachers_validation", found)):
        if rows is not None:  # every row, where the tables above are for readers
            rows.to_csv(out / "tables" / f"{name}.csv", index=False, lineterminator="\n")
    content["figures"] = [(d, save(d.draw, d.name, out / "figures")) for d in drawings(data, found)]
    page = out / "teachers.html"
    page.write_text(environment().get_template("teachers.html").render(**content, **frame()), encoding="utf-8")
    text = environment(escape=False).get_template("teachers.md.jinja").render(**content)
    (out / "teachers.md").write_text(text, encoding="utf-8")
    return page


def is_trained(data: TeacherData) -> bool:
    """Whether the run says what students achieved."""
    return data.run is not None and (any(m.headline for m in data.run.metrics) or bool(data.settings.outcomes))


def _content(data: TeacherData, found: pd.DataFrame | None) -> dict[str, Any]:
    """What both the page and the Markdown show."""
    swept = sorted(set(data.sweep.frame["beta"])) if data.sweep is not None else []
    return {
        "name": data.name,
        "description": data.run.description if data.run is not None else "",
        "asked": teacher_facts.asked(data),
        "warnings": teacher_facts.warnings(data, found is not None),
        "boards": board_tables(data),
        "scores": scores_table(data),
        "top": teacher_facts.top(data),
        "sweep": sweep_table(data.sweep) if data.sweep is not None else None,
        "crossings": crossings_table(data.sweep, (swept[0], swept[-1])) if data.sweep is not None else None,
        "counts": counts_table(data),
        "outcomes": [] if found is None else [_outcome(data, found, str(o)) for o in dict.fromkeys(found["outcome"])],
        "provenance": teacher_facts.provenance(data),
        "settings": json.dumps(data.settings.model_dump(mode="json"), indent=2, ensure_ascii=False),
    }


def _outcome(data: TeacherData, found: pd.DataFrame, outcome: str) -> dict[str, Any]:
    """The tables of one outcome: over all bases, per base, by family."""
    benchmark, _, metric = outcome.partition(".")
    students = [str(s) for s in dict.fromkeys(found["student"]) if s != MEAN]
    stem = file_name("teachers_validation", outcome)
    return {
        "name": outcome,
        "mean": validation_table(found, outcome, MEAN, stem + "_mean"),
        "bases": [validation_table(found, outcome, s, f"{stem}_{k}") for k, s in enumerate(students)],
        "paradox": paradox_table(
            larger_models(data, (benchmark, metric)), outcome, file_name("teachers_paradox", outcome)
        ),
        "reversals": reversals_table(data, (benchmark, metric), file_name("teachers_reversals", outcome)),
    }


def _all_tables(content: dict[str, Any]) -> list[Table]:
    single = [content[name] for name in ("scores", "sweep", "crossings", "counts")]
    by_outcome = [t for o in content["outcomes"] for t in (o["mean"], *o["bases"], o["paradox"], o["reversals"])]
    return [t for t in [*content["boards"], *single, *by_outcome] if t is not None]
