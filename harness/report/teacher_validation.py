"""The scores against what students achieved, as tables."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.report.measure import Estimate
from harness.report.tables import Column, Entry, Shown, Table
from harness.report.teacher_tables import estimates, finite, score_title
from harness.teachers.validation import MEAN

STATISTICS = {
    "spearman": ("Spearman", "↑"),
    "kendall": ("Kendall", "↑"),
    "pairwise_accuracy": ("pairs right", "share ↑"),
    "top_1": ("top-1 right", "share ↑"),
    "regret_at_1": ("regret at 1", "outcome ↓"),
    "spearman_given_length": ("Spearman given length", "↑"),
    "pairwise_accuracy_within_family": ("pairs right in families", "share ↑"),
}
"""Statistic -> its title and unit."""


def validation_table(found: pd.DataFrame, outcome: str, student: str, name: str) -> Table:
    """Scores, then baselines, each by its Spearman correlation with what the students achieved."""
    rows = found[(found["outcome"] == outcome) & (found["student"] == student)]
    order = validation_order(rows)
    columns = [Column("score", "score"), Column("kind", "kind")]
    baselines = set(rows.loc[rows["baseline"], "score"])
    entries: list[Sequence[Entry]] = [
        [score_title(s) for s in order],
        ["baseline" if s in baselines else "score" for s in order],
    ]
    for statistic, (title, unit) in STATISTICS.items():
        own = rows[rows["statistic"] == statistic].set_index("score").reindex(order)
        columns.append(Column(statistic, title, unit, "estimate"))
        entries.append(estimates(own, None if statistic == "regret_at_1" else 2))
        if statistic == "spearman":
            columns.append(Column("spearman_prompts", "Spearman, other prompts", "95 %"))
            entries.append([_over_prompts(row) for row in own.to_dict("records")])
    over = "mean over student bases" if student == MEAN else f"student base {student}"
    first = len([s for s in order if s not in baselines])
    table = tuple(zip(*entries, strict=True))
    return Table(name, f"{outcome}: {over}", tuple(columns), table, _validation_notes(rows), (first,))


def _over_prompts(row: Mapping[Hashable, Any]) -> str:
    return "–" if pd.isna(row["prompt_low"]) else f"[{row['prompt_low']:.2f}, {row['prompt_high']:.2f}]"


def validation_order(rows: pd.DataFrame) -> list[str]:
    """Scores by their Spearman correlation, the best first, then baselines likewise."""
    own = rows[rows["statistic"] == "spearman"]
    return [str(s) for s in own.sort_values(["baseline", "value"], ascending=[True, False], kind="stable")["score"]]


def _validation_notes(rows: pd.DataFrame) -> tuple[str, ...]:
    """Why what is not there is not there, once per reason."""
    where: dict[str, list[str]] = {}
    for (note, score), own in rows[rows["note"] != ""].groupby(["note", "score"], sort=False):
        which = "" if len(own) == len(STATISTICS) else f" ({', '.join(STATISTICS[s][0] for s in own['statistic'])})"
        where.setdefault(str(note), []).append(score_title(str(score)) + which)
    return tuple(f"{', '.join(names)}: {note}." for note, names in where.items())


def paradox_table(found: pd.DataFrame, outcome: str, name: str) -> Table:
    """Within each family: does the bigger teacher make the better student?"""
    texts = ("student", "family", "teachers", "sizes_b", "outcomes")
    titles = ("student base", "family", "teachers, small to big", "billions", "students achieved")
    rows = tuple(
        (
            *(str(r[k]) if not pd.isna(r[k]) else "–" for k in texts),
            "–" if pd.isna(r["monotone"]) else "yes" if r["monotone"] else "no",
            _share(r),
            Shown(float(r["missing"]), f"{r['missing']:.0f}"),
        )
        for r in found.to_dict("records")
    )
    columns = (
        *(Column(k, t) for k, t in zip(texts, titles, strict=True)),
        Column("monotone", "bigger is never worse"),
        Column("share", "bigger is better", "share of pairs", "estimate"),
        Column("missing", "left out", "teachers", "number"),
    )
    notes = (
        "Share of the pairs of teachers of one family in which the bigger one made the better student; one half is "
        "what size would tell if it told nothing. n/total: pairs.",
        "95 % over families, or over student bases where one family is pooled; one family on one base has no interval. "
        "Left out: no family, size or outcome is known.",
    )
    return Table(name, f"{outcome}: the Larger Models' Paradox", columns, rows, notes)


def _share(row: Mapping[Hashable, Any]) -> Estimate:
    pairs = int(row["pairs"])
    return Estimate(finite(row["share"]), finite(row["low"]), finite(row["high"]), None, pairs, pairs, 1, decimals=2)
