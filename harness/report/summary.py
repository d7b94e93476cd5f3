"""What a person wants to know first of a run that has ended: scores, the verdicts that hold, warnings, the bill."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report import facts
from harness.report.comparisons import (
    Comparison,
    against_title,
    axis_comparisons,
    axis_title,
    comparisons,
    unlike,
)
from harness.report.endings import with_incomplete
from harness.report.load import RunData
from harness.report.measure import Measures
from harness.report.numbers import duration
from harness.report.tables import Table, headline_table, metric_title


@dataclass(frozen=True)
class Verdicts:
    """One family of tests in words."""

    title: str
    hold: Sequence[tuple[str, str, str, str]]
    """Of each difference that is shown: verdict, row, metric, and its size with the interval."""
    others: str
    """How many tests showed none, e.g. `4 underpowered`; empty where all did."""


@dataclass(frozen=True)
class Summary:
    """A run in a screen. What a terminal has no room for stands in its report."""

    title: str
    swept: str
    """One sentence: what was varied."""
    scores: Table
    verdicts: Sequence[Verdicts]
    warnings: Sequence[str]
    bill: str
    """Time and money, in words."""


def summary(run: RunData) -> Summary:
    """The summary of a run that has scores."""
    measures = Measures(run)
    compared = comparisons(run, measures)
    families = {axis_title(run, axis): tests for axis, tests in axis_comparisons(run, measures).items()}
    if compared:
        families[against_title(compared)] = compared
    return Summary(
        title=run.name,
        swept=facts.sweep_in_words(run),
        scores=with_incomplete(headline_table(run, measures), measures),
        verdicts=[_verdicts(run, title, tests) for title, tests in families.items()],
        warnings=[*facts.warnings(run, measures), *unlike(compared)],
        bill=_bill(run),
    )


def _verdicts(run: RunData, title: str, tests: Sequence[Comparison]) -> Verdicts:
    hold = [
        (c.verdict, c.group.title, metric_title(c.metric, run), facts.size_text(c.difference))
        for c in tests
        if c.verdict in ("better", "worse") and c.difference is not None
    ]
    other = Counter(c.verdict for c in tests if c.verdict not in ("better", "worse"))
    return Verdicts(title, hold, ", ".join(f"{count} {verdict}" for verdict, count in other.items()))


def _bill(run: RunData) -> str:
    """`stages of 2 min 9 s, one after the other; judges 1.20 USD`."""
    prices = [cost.price_usd for cost in run.costs if cost.price_usd is not None]
    calls = sum(cost.judge_calls for cost in run.costs)
    parts = [f"stages of {duration(run.stages.seconds)}, one after the other"]
    parts += [f"{calls:,} judge calls"] if calls else []
    parts += [f"judges {sum(prices):.2f} USD"] if prices else []
    return "; ".join(parts)
