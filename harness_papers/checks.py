"""What is printed, recomputed: what is reproduced, what is not, and what cannot be recomputed at all."""

import pandas as pd

from harness.report.tables import Column, Entry
from harness_papers.item import Item
from harness_papers.layout import Block, decimals_of, quoted
from harness_papers.validate import published_checks

NAME = "checks"
NOT_RECOMPUTABLE = (
    ("arXiv 2406.19112, main table", "MT-Bench and AlpacaEval scores", "answers and verdicts are not published"),
    ("arXiv 2406.19112, radar", "category scores", "read off the figure by eye; only their mean can be held against"),
    (
        "arXiv 2406.19112",
        "SFT and attention ablations, domain metrics, other ratios",
        "in no source at hand, so there is no table of them here",
    ),
    ("arXiv 2411.07133, tables 2, 3 and 6", "win rates", "answers and verdicts are not published with them"),
    (
        "arXiv 2411.07133, table 4",
        "the 45 correlations themselves",
        "the metrics per generator are not printed; checked is only whether 19 ranks without ties can give the value",
    ),
    ("arXiv 2411.07133", "CAR's beta, its reward model", "not stated, so no CAR value can be recomputed"),
    ("arXiv 2601.14249", "mean |Spearman| of RSR, .86", "the scores per teacher are not printed"),
)
"""(where, what, why it cannot be recomputed)."""

_EXACT, _BY_EYE = "to the printed digits", "within the reading's 0.1"
_NAMED = (_NEAR, _NOT) = ("to one unit of the last digit", "does not agree")
_DECIMALS = {"arena_hard_wr": 1}
_LEAD = (
    Column("table", "table"),
    Column("row", "row"),
    Column("quantity", "quantity"),
    Column("verdict", "verdict"),
    Column("note", "how"),
)


def verdicts() -> pd.DataFrame:
    """`published_checks` with a `verdict` in words."""
    frame = published_checks()
    by_eye = frame["table"].str.endswith("by_eye")
    words = pd.Series(_NOT, index=frame.index)
    words[frame["agrees"]] = _NEAR
    words[frame["agrees"] & by_eye] = _BY_EYE
    words[frame["exact"]] = _EXACT
    return frame.assign(verdict=words)


def summary() -> list[str]:
    """One line per kind of check: how many have which verdict, and by name those that are not reproduced."""
    lines = []
    for how, rows in verdicts().groupby("note", sort=False):
        counts = []
        for verdict, found in rows.groupby("verdict", sort=False):
            named = [f"{r.row}, {r.quantity}: {r.printed:g} and {r.derived:.5g}" for r in found.itertuples()]
            which = f" ({'; '.join(named)})" if verdict in _NAMED else ""
            counts.append(f"{len(found)} of {len(rows)} {verdict}{which}")
        lines.append(f"{', '.join(dict.fromkeys(rows['table']))}: {how}: {', '.join(counts)}")
    return lines


def _block() -> Block:
    frame = verdicts()
    columns = (Column("printed", "printed", "", "number"), Column("derived", "recomputed", "", "number"))
    rows: dict[str, tuple[str, ...]] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for k, line in enumerate(frame.to_dict("records")):
        rows[str(k)] = tuple(str(line[c.key]) for c in _LEAD)
        places = max(2, decimals_of(pd.Series([line["printed"]]))) if line["quantity"] not in _DECIMALS else 1
        entries[str(k), "printed"] = quoted(line["printed"], places)
        entries[str(k), "derived"] = quoted(line["derived"], places + 1, "derived")
    return Block("published", rows, {c.key: c for c in columns}, entries)


ITEM = Item(
    NAME,
    "What is printed, recomputed",
    "all tables",
    "derived",
    _LEAD,
    _block,
    note="A cell of table 4 is held against the nearest Spearman correlation that 19 generators without ties can have.",
)
