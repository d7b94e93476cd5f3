"""The sample browser's data: every question with the answers of all cells, as JSON that is safe inside a page."""

import json
from collections.abc import Mapping

import pandas as pd

from harness.core.canonical import Json
from harness.report.groups import group_cells
from harness.report.load import RunData
from harness.report.tables import benchmark_title

LIMIT_BYTES = 6_000_000
_CUTS = (4000, 2000, 1000, 500, 200, 80)
_TEXTS = ("question", "answer", "reference", "verdict")


def browser_data(run: RunData, limit: int | None = None) -> dict[str, Json]:
    """Cells, benchmarks and items; `cut` is the length that longer texts were cut to, or null.

    An item is one judged turn: {b: benchmark, c: category, i: id, t: turn, q: question, r: reference,
    a: {cell number: [answer, verdict, value, status]}}.
    """
    frame = run.transcripts
    cut, limit = None, LIMIT_BYTES if limit is None else limit
    if _bytes(frame) > limit:
        cut = next((c for c in _CUTS if _bytes(frame, c) <= limit), _CUTS[-1])
    groups = group_cells(run)
    order = [cell.cell for group in groups for cell in group.cells if not cell.failed]
    titles = {
        c.cell: g.title if len(g.cells) == 1 else f"{g.title} · seed {c.labels.get('seed', '')}"
        for g in groups
        for c in g.cells
    }
    first = [g.cells[0].cell for g in groups]
    place = {cell: k for k, cell in enumerate(order)}
    items: dict[tuple[str, str, int], dict[str, Json]] = {}
    columns = [str(name) for name in frame.columns]
    for values in zip(*(frame[name].tolist() for name in frame.columns), strict=True):
        row = dict(zip(columns, values, strict=True))
        if row["cell"] in place:
            _add(items, row, place, cut)
    return {
        "cells": [{"title": titles[c], "shown": c in first} for c in order],
        "benchmarks": {b: benchmark_title(b) for b in frame["benchmark"].astype(str).unique()},
        "items": list(items.values()),
        "cut": cut,
    }


def _add(
    items: dict[tuple[str, str, int], dict[str, Json]],
    row: Mapping[str, Json],
    place: Mapping[str, int],
    cut: int | None,
) -> None:
    key = (str(row["benchmark"]), str(row["item"]), int(row["turn"]))
    item = items.setdefault(
        key, {"b": key[0], "i": key[1], "t": key[2], "c": str(row["category"]), "q": None, "r": None, "a": {}}
    )
    item["q"] = item["q"] or _text(row["question"], cut)
    item["r"] = item["r"] or _text(row["reference"], cut)
    value = None if _missing(row["value"]) else round(float(row["value"]), 4)
    answer = [_text(row["answer"], cut), _text(row["verdict"], cut), value, str(row["status"])]
    item["a"].setdefault(str(place[str(row["cell"])]), answer)


def _missing(value: object) -> bool:
    """None, or the NaN that a table makes of it."""
    return value is None or value != value


def _text(value: Json, cut: int | None) -> str | None:
    if _missing(value):
        return None
    text = str(value)
    return text if cut is None or len(text) <= cut else f"{text[:cut]}… ({len(text) - cut:,} more characters)"


def _bytes(frame: pd.DataFrame, cut: int | None = None) -> int:
    """About how large the texts are once cut; questions and references are kept once an item, so this errs high."""
    total = 0
    for column in _TEXTS:
        sizes = frame[column].dropna().astype(str).str.len()
        total += int((sizes if cut is None else sizes.clip(upper=cut)).sum())
    return total


def safe_json(value: Json) -> str:
    """JSON for a script element: nothing in it can end the element or start another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
