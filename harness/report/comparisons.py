"""Which cells differ: paired differences with corrected p, minimum detectable effect and a verdict in words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.record.run import MetricRecord
from harness.report.groups import Group, Pairs, against, group_cells, matched
from harness.report.load import REPLICATES, RunData
from harness.report.measure import ONE_DRAW, ONE_SEED, Estimate, Measures
from harness.report.reach import Reach, reach
from harness.report.tables import Column, Table, benchmark_title, metric_title
from harness.stats.intervals import Difference
from harness.stats.multiplicity import holm, holm_level
from harness.stats.power import items_needed, minimum_detectable_effect, seeds_needed
from harness.stats.verdict import SMALL_EFFECT, Verdict, verdict


@dataclass(frozen=True)
class Comparison:
    """One test: a row against its baseline on one metric."""

    group: Group
    base: Group
    metric: MetricRecord
    difference: Difference | None
    p: float | None
    """Holm-corrected over the tests of its table."""
    mde: float | None
    verdict: Verdict
    more: str
    """What would show the observed difference, in words."""
    one_seed: bool
    incomplete: tuple[float | None, float | None]
    """The shares of the row's and of its baseline's answers that are incomplete, in %; see `Measures.incomplete`."""
    reach: Reach
    """How often each source of chance was drawn for it."""

    @property
    def unlike(self) -> float | None:
        """By how many percentage points these differ; None where either is unknown."""
        one, other = self.incomplete
        return None if one is None or other is None else abs(one - other)


ALIKE = 5.0
"""Percentage points by which the shares of incomplete answers of two rows may differ before it is said."""
_NAMED = 5
"""Pairs of rows that a warning names."""


def unlike(compared: Sequence[Comparison]) -> list[str]:
    """A line for each benchmark on which the shares of two rows' incomplete answers differ by more than ALIKE."""
    pairs = {(c.metric.benchmark, c.group.name, c.base.name): c for c in compared if (c.unlike or 0.0) > ALIKE}
    lines = []
    for benchmark in dict.fromkeys(name for name, *_ in pairs):
        of_benchmark = sorted((c for key, c in pairs.items() if key[0] == benchmark), key=lambda c: -(c.unlike or 0.0))
        named = "; ".join(f"{c.group.title} against {c.base.title} {_shares(c)}" for c in of_benchmark[:_NAMED])
        more = f" and {len(of_benchmark) - _NAMED} other pairs" if len(of_benchmark) > _NAMED else ""
        lines.append(
            f"{benchmark_title(benchmark)}: scores may differ since answers are incomplete (cut, empty or unfinished) "
            f"in one row more than in the other: {named}{more}."
        )
    return lines


def _shares(c: Comparison) -> str:
    return " : ".join("unknown" if share is None else f"{share:.1f} %" for share in c.incomplete)


def comparisons(run: RunData, measures: Measures, baseline: str | None = None) -> list[Comparison]:
    """Every row against its baseline (see `groups.against`) on every headline metric, as one family of tests."""
    return _family(run, measures, against(run, baseline))


def _family(run: RunData, measures: Measures, pairs: Pairs) -> list[Comparison]:
    metrics = [m for m in run.metrics if m.headline]
    cases = [(g, base, m) for m in metrics for g, base in pairs]
    found = [measures.difference(g, base, m) for g, base, m in cases]
    corrected = holm([d.p if d else None for d in found])
    level = holm_level(corrected)
    matters = {(m.benchmark, m.metric): _matters(run, measures, m) for m in metrics}
    return [
        _comparison(measures, case, difference, p, level, matters[case[2].benchmark, case[2].metric])
        for case, difference, p in zip(cases, found, corrected, strict=True)
    ]


def axis_comparisons(run: RunData, measures: Measures) -> dict[str, list[Comparison]]:
    """By axis: each row against the row that differs from it only there, by the axis's first label."""
    firsts = {axis: labels[0] for axis, labels in run.axes.items() if axis not in REPLICATES and len(labels) > 1}
    pairs = {axis: matched(group_cells(run), {axis: first}) for axis, first in firsts.items()}
    return {axis: _family(run, measures, found) for axis, found in pairs.items() if found}


def between_labels(run: RunData, measures: Measures, axis: str) -> list[Comparison]:
    """Every two labels of an axis at equal other labels, as one family of tests: a claim about the best label needs it,
    since the same scores chose that label."""
    place = {label: k for k, label in enumerate(run.axes[axis])}
    pairs = [
        (group, base)
        for label in run.axes[axis]
        for group, base in matched(group_cells(run), {axis: label})
        if place[dict(group.labels)[axis]] > place[label]
    ]
    return _family(run, measures, pairs)


def axis_title(run: RunData, axis: str) -> str:
    """`What method changes, against sft`."""
    return f"What {axis.replace('_', ' ')} changes, against {run.axes[axis][0]}"


def against_title(compared: Sequence[Comparison]) -> str:
    """`Every cell against student`, or `Comparisons` where there are several baselines."""
    bases = {c.base.title for c in compared}
    return f"Every cell against {bases.pop()}" if len(bases) == 1 else "Comparisons"


def _matters(run: RunData, measures: Measures, metric: MetricRecord) -> float:
    given = run.settings.matters.get(metric.metric, run.settings.matters.get(metric.benchmark))
    if given is not None:
        return given
    return SMALL_EFFECT * (measures.item_sd(metric, group_cells(run)) or 0.0)


def _comparison(
    measures: Measures,
    case: tuple[Group, Group, MetricRecord],
    difference: Difference | None,
    p: float | None,
    level: float,
    matters: float,
) -> Comparison:
    group, base, metric = case
    mde = minimum_detectable_effect(difference.spread, level=level) if difference else None
    word: Verdict = "not tested"
    if difference:
        word = verdict(difference.value, p, mde, matters, metric.direction)
    one_seed = measures.replicated and any(len(g.replicates()) == 1 and not g.baseline for g in (group, base))
    more = _more(difference, level) if difference and word == "underpowered" else ""
    first, second = (measures.incomplete(g, metric.benchmark) for g in (group, base))
    drawn = reach([measures.scored(g, metric) for g in (group, base)])
    return Comparison(group, base, metric, difference, p, mde, word, more, one_seed, (first, second), drawn)


def _more(difference: Difference, level: float) -> str:
    """How many seeds (or draws) or questions would make the observed difference the detectable one."""
    if abs(difference.value) < 1e-12:
        return ""
    seeds = seeds_needed(difference.value, difference.spread, level)
    items = items_needed(difference.value, difference.spread, level)
    ways = [f"{seeds} {'draws' if difference.draws else 'seeds'}"] if seeds else []
    ways += [f"{items:,} questions"] if items and items > difference.clusters else []
    return " or ".join(ways)


_NEW_DRAW = (Column("new_draw_low", "a new draw: from", "95 %", "number"), Column("new_draw_high", "to", "", "number"))


def comparison_table(run: RunData, found: list[Comparison], name: str = "comparisons", title: str = "") -> Table:
    """The tests as a table, one row each."""
    drawn = any(c.difference is not None and c.difference.draws for c in found)
    columns = (
        Column("cell", "cell"),
        Column("baseline", "against"),
        Column("metric", "metric"),
        Column("difference", "difference", "metric's unit", "estimate"),
        Column("p_holm", "p (Holm)", "", "p"),
        Column("mde", "could have seen", "80 % power", "number"),
        Column("verdict", "verdict", "", "words"),
        Column("would_show_it", "would show it"),
        Column("drawn", "over", "", "words"),
        *(_NEW_DRAW if drawn else ()),
    )
    rows = tuple(
        (
            c.group.title,
            c.base.title,
            metric_title(c.metric, run),
            shown(c),
            c.p,
            c.mde,
            c.verdict,
            c.more,
            c.reach.words,
            *(_new_draw(c) if drawn else ()),
        )
        for c in found
    )
    tests = sum(c.p is not None for c in found)
    notes = [
        f"Paired over the questions both have; p corrected by Holm over the {tests} tests of this table. "
        "'Could have seen' is the smallest true difference that this corrected test finds with 80 % probability."
    ]
    if any(c.verdict == "not tested" for c in found):
        why = "a score is missing, below the coverage floor, from an uninformative judge, or without any spread"
        notes.append(f"Not tested: {why}.")
    if any(c.one_seed for c in found):
        notes.append("¶ one seed: a difference between these checkpoints, not between the ways they were trained.")
    if any(c.reach.one_draw for c in found):
        notes.append(
            "△ one teacher or one sample of data: the interval and the verdict are about these, and others may give "
            "another verdict. `draws` in the recipe makes them anew."
        )
    if drawn:
        notes.append(
            "'A new draw': where the difference of a single further draw is expected, on these questions. It is wider "
            "than the interval, which is about the mean over draws."
        )
    return Table(name, title or "Comparisons", columns, rows, tuple(notes), _blocks(found))


def _blocks(found: list[Comparison]) -> tuple[int, ...]:
    return tuple(k for k in range(1, len(found)) if found[k].metric != found[k - 1].metric)


def shown(c: Comparison) -> Estimate | None:
    """The difference as a table shows it."""
    if c.difference is None:
        return None
    d = c.difference
    marks = (*([ONE_SEED] if c.one_seed else []), *([ONE_DRAW] if c.reach.one_draw else []))
    return Estimate(d.value, d.low, d.high, d.stderr, d.clusters, d.clusters, min(d.seeds), marks)


def _new_draw(c: Comparison) -> tuple[float | None, float | None]:
    found = c.difference.new_draw if c.difference is not None else None
    return found or (None, None)


def compare(run: RunData, baseline: str | None = None) -> Table:
    """Paired differences of a run's rows against a baseline, seed replicates grouped.

    `baseline` names a row, one single cell (then every single cell is compared with it, seeds too), or labels such as
    `method=sft` (then each row is compared with the row that differs from it only there).
    """
    return comparison_table(run, comparisons(run, Measures(run), baseline))


_BOUND = re.compile(r"(?P<scope>[\w.]+) *(?P<sign>>=|<=) *(?P<bound>[+-]?\d+(\.\d+)?)")


def require(found: list[Comparison], requirement: str) -> list[str]:
    """What breaks a requirement; empty when it holds.

    `better`, `not worse`, or `not worse than 0.5` (the interval must exclude a loss of 0.5), optionally for one
    benchmark or metric: `mt_bench: not worse`. `domain_score >= +2` (or `nll <= -0.1`): the whole interval of the
    difference lies there. `incomplete within 5`: the shares of incomplete answers differ by 5 percentage points at
    most. What could not be tested, or is not known, breaks it, too.
    """
    bound = _BOUND.fullmatch(requirement.strip())
    scope, _, rule = requirement.rpartition(":") if bound is None else (bound["scope"], "", "")
    scope, rule = scope.strip(), " ".join(rule.split())
    names = ("", *{n for c in found for n in (c.metric.benchmark, c.metric.metric)})
    margin = _margin(rule)
    most = _ALIKE.fullmatch(rule)
    if (bound is None and margin is None and most is None) or scope not in names:
        raise HarnessError(
            f"cannot read the requirement '{requirement}'",
            fix="Say 'better', 'not worse', 'not worse than 0.5' or 'incomplete within 5', if need be after "
            f"'BENCHMARK:' or 'METRIC:'; or 'METRIC >= +2'. There are {', '.join(sorted(names)[1:])}.",
        )
    asked = [c for c in found if scope in ("", c.metric.benchmark, c.metric.metric)]
    if most is not None:
        apart = [c for c in asked if c.unlike is None or c.unlike > float(most["points"])]
        return list(dict.fromkeys(map(_apart, apart)))
    broken = [c for c in asked if not (_holds(c, rule, margin or 0.0) if bound is None else _lies(c, bound))]
    return [
        f"{c.group.name} against {c.base.name}, {c.metric.benchmark} {c.metric.metric}: {c.verdict}" for c in broken
    ]


_ALIKE = re.compile(r"incomplete within (?P<points>\d+(\.\d+)?)")


def _apart(c: Comparison) -> str:
    return f"{c.group.name} against {c.base.name}, {c.metric.benchmark}: incomplete answers {_shares(c)}"


def _lies(c: Comparison, bound: re.Match[str]) -> bool:
    """Whether the interval of a difference lies beyond a bound."""
    if c.verdict == "not tested" or c.difference is None:
        return False
    low, high, least = c.difference.low, c.difference.high, float(bound["bound"])
    return low is not None and high is not None and (low >= least if bound["sign"] == ">=" else high <= least)


def _margin(rule: str) -> float | None:
    if rule in ("better", "not worse"):
        return 0.0
    try:
        return float(rule.removeprefix("not worse than ")) if rule.startswith("not worse than ") else None
    except ValueError:
        return None


def _holds(c: Comparison, rule: str, margin: float) -> bool:
    if c.verdict == "not tested" or c.difference is None:
        return False
    if rule == "better":
        return c.verdict == "better"
    if rule == "not worse":
        return c.verdict != "worse"
    loss = c.difference.low if c.metric.direction == "higher" else c.difference.high
    return loss is not None and abs(min(0.0, loss if c.metric.direction == "higher" else -loss)) <= margin
