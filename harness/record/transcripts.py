"""The texts of a cell's evaluation as a reader wants to see them: question, answer, verdict, and the value."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.core.canonical import Json
from harness.core.lines import read_lines
from harness.judge.api import Verdict
from harness.record.judged import Judged
from harness.record.tables import TRANSCRIPTS
from harness.stages import measure

Unit = tuple[str, int]
"""Item and turn."""
Texts = tuple[Mapping[Unit, Mapping[str, Json]], Mapping[Unit, list[Verdict]]]
"""Question, answer and reference of each unit, and its verdicts."""

_TEXTS = ("question", "answer", "reference")
_SAMPLE = ("benchmark", "metric", "item", "category", "turn", "value", "status")


def transcript(cell: str, samples: pd.DataFrame, texts: Texts) -> pd.DataFrame:
    """One row per judged turn (or measured item): its texts and the mean of its samples.

    Its verdicts, where there are several (repeats, both orders of a pair), stand below each other.
    """
    said, verdicts = texts
    units: dict[Unit, list[Mapping[Hashable, Any]]] = {}
    for sample in samples[list(_SAMPLE)].to_dict("records"):
        units.setdefault((str(sample["item"]), int(sample["turn"])), []).append(sample)
    rows = []
    for unit, of_unit in units.items():
        # A benchmark may score one verdict under several metrics.
        alike = [sample for sample in of_unit if sample["metric"] == of_unit[0]["metric"]]
        values = [float(sample["value"]) for sample in alike if pd.notna(sample["value"])]
        rows.append(
            {column: alike[0][column] for column in ("benchmark", "item", "category", "turn")}
            | {name: said.get(unit, {}).get(name) for name in _TEXTS}
            | {
                "cell": cell,
                "verdict": _below_each_other(verdicts.get(unit, [])),
                "value": float(np.mean(values)) if values else None,
                "status": next((sample["status"] for sample in alike if sample["status"] != "ok"), "ok"),
            }
        )
    return pd.DataFrame(rows, columns=list(TRANSCRIPTS.columns))


def judged_texts(judged: Sequence[Judged]) -> Texts:
    """The texts that the judges of the same answers were shown, and what they said, one judge after the other."""
    verdicts: dict[Unit, list[Verdict]] = {}
    for verdict in (verdict for of_judge in judged for verdict in of_judge.verdicts):
        verdicts.setdefault((verdict.task.item, verdict.task.turn), []).append(verdict)
    return {unit: _texts(alike[-1].task.evidence) for unit, alike in verdicts.items()}, verdicts


def _texts(evidence: Mapping[str, Json]) -> dict[str, Json]:
    """Question, answer and what it is compared with: the baseline's answer of a pair, else a right answer.

    Of a conversation they are the last, which are the judged turn's.
    """
    several = {name: evidence.get(f"{name}s") for name in _TEXTS}
    last = {name: evidence.get(name) or (texts[-1] if (texts := several[name]) else None) for name in _TEXTS}
    return last | ({"reference": evidence["baseline_answer"]} if "baseline_answer" in evidence else {})


def measured_texts(folder: Path) -> Texts:
    """The texts that a measured benchmark keeps, if it keeps any."""
    path = folder / measure.FILES / "transcripts.jsonl"
    return {(str(row["item"]), 1): row for row in read_lines(path)} if path.exists() else {}, {}


def _below_each_other(verdicts: Sequence[Verdict]) -> str | None:
    if len(verdicts) < 2:
        return verdicts[0].reply.text if verdicts else None
    places = {"ab": "shown first: ", "ba": "shown second: "}
    panel = len({v.reply.model for v in verdicts}) > 1
    return "\n\n".join(
        f"({k}) {f'{v.reply.model}: ' if panel else ''}{places.get(v.task.variant, '')}{v.reply.text}"
        for k, v in enumerate(verdicts, 1)
    )
