"""A run's teachers as a page: leaderboards, CAR as beta moves, and what the scores told of the outcomes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report import teacher_facts
from harness.report.page import Page, Section, parts, write
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
    validated = validation(data) if is_trained(data) else None
    path = write(_page(data, validated), out)
    for name, rows in (("teachers_leaderboard", data.board), ("teachers_validation", validated)):
        if rows is not None:  # every row, where the tables of the page are for readers
            rows.to_csv(out / "tables" / f"{name}.csv", index=False, lineterminator="\n")
    return path


def is_trained(data: TeacherData) -> bool:
    """Whether the run says what students achieved."""
    return data.run is not None and (any(m.headline for m in data.run.metrics) or bool(data.settings.outcomes))


def _page(data: TeacherData, validated: pd.DataFrame | None) -> Page:
    outcomes = []
    if validated is not None:
        outcomes = [_outcome(data, validated, str(name)) for name in dict.fromkeys(validated["outcome"])]
    boards, scores, counts, top = board_tables(data), scores_table(data), counts_table(data), teacher_facts.top(data)
    sweep = crossings = None
    if data.sweep is not None:
        betas = sorted(set(data.sweep.frame["beta"]))
        sweep, crossings = sweep_table(data.sweep), crossings_table(data.sweep, (betas[0], betas[-1]))
    figures = list(drawings(data, validated))
    settings = json.dumps(data.settings.model_dump(mode="json"), indent=2, ensure_ascii=False)
    return Page(
        stem="teachers",
        title=f"Teachers: {data.name}",
        heading=data.name,
        description=data.run.description if data.run is not None else "",
        summary=teacher_facts.asked(data),
        warnings=teacher_facts.warnings(data, validated is not None),
        parts=parts(
            ("leaderboard", "Leaderboard", True),
            ("car", "Reward and loss", any(drawing.section == "car" for drawing in figures)),
            ("beta", "CAR and β", sweep is not None),
            ("validation", "Validation", bool(outcomes)),
            ("counts", "Counts", True),
            ("provenance", "Provenance", True),
        ),
        sections=[
            *(Section(table.title, table) for table in (*boards, scores)),
            *([Section("CAR as β moves", sweep, tuple(top))] if sweep else []),
            *(Section(o[k].title, o[k]) for o in outcomes for k in ("mean", "paradox", "reversals")),
            Section(counts.title, counts),
        ],
        behind=[],
        facts=teacher_facts.provenance(data),
        facts_title="Provenance",
        figures=figures,
        content={"boards": boards, "scores": scores, "top": top, "sweep": sweep, "crossings": crossings}
        | {"counts": counts, "outcomes": outcomes, "settings": settings},
        folded=[*([crossings] if crossings else []), *(table for o in outcomes for table in o["bases"])],
    )


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
