"""How a cell's answers ended, beside its samples and its scores: an answer that was cut, is empty or never left its
thinking is scored for what it is not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.bench.api import Opened
from harness.core.lines import read_lines
from harness.generate.api import Answer, Ending
from harness.record.tables import COMPLETE, COMPLETE_N, SHARES
from harness.stages import measure

Unit = tuple[str, int]
"""Item and turn."""


def of_answers(answers: Sequence[Answer]) -> dict[Unit, Ending]:
    """How each turn of the answers ended."""
    return {(a.id, turn): ending for a in answers for turn, ending in enumerate(a.endings, 1)}


def of_measured(folder: Path) -> dict[Unit, Ending]:
    """How what a measured benchmark generated ended, where its transcripts say so; items that share a text are one."""
    path = folder / measure.FILES / "transcripts.jsonl"
    rows = read_lines(path) if path.exists() else ()
    return {(str(row["item"]), 1): row["ending"] for row in rows if "ending" in row}


def with_endings(samples: pd.DataFrame, endings: Mapping[Unit, Ending]) -> pd.DataFrame:
    """The samples of one cell, with the `ending` of the answer that each is of; null where there was no answer."""
    units = zip(samples["item"].astype(str), samples["turn"], strict=True)
    return samples.assign(ending=pd.Series([endings.get(unit) for unit in units], samples.index, dtype="string"))


def beside(scores: pd.DataFrame, samples: pd.DataFrame, bench: Opened[Any]) -> pd.DataFrame:
    """The scores of one cell with the shares (0 to 1) of answers that were cut, are empty or are unfinished, and with
    the score over complete answers alone and its number of samples; null where no answers were given, and for audited
    scores, which are no means of their samples."""
    keys = ["benchmark", "metric", "category"]
    whole = samples[(samples["ending"] == "complete") & samples["metric"].isin([m.name for m in bench.metrics])]
    complete = scores[:0] if whole.empty else bench.aggregate(whole)
    alone = complete[[*keys, "value", "n"]].rename(columns={"value": COMPLETE, "n": COMPLETE_N})
    named = zip(scores["metric"], scores["category"], strict=True)
    shares = [_shares(samples, metric, category) for metric, category in named]
    columns = pd.DataFrame(shares, columns=list(SHARES), index=scores.index, dtype="Float64")
    return pd.concat([scores, columns], axis=1).merge(alone, on=keys, how="left")


def _shares(samples: pd.DataFrame, metric: str, category: str) -> list[float | None]:
    """The share of each ending in SHARES among the answers that a score is over."""
    own = samples[(samples["metric"] == metric) & samples["ending"].notna()]
    if category.startswith("turn_"):
        own = own[own["turn"] == int(category.removeprefix("turn_"))]
    elif category != "overall":
        own = own[own["category"] == category]
    ends = own.drop_duplicates(["item", "turn"])["ending"]
    return [float((ends == share).mean()) if len(ends) else None for share in SHARES]
