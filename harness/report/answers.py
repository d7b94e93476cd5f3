"""The questions that a recipe asked, answered in words from the run's own tests: what a page says first.

Which axis asks what is read in the recipe: where its `$name` stands. The knee of a trade-off is the least share of
domain data that brings REACHED of the best share's gain; its interval is over questions, drawn anew with replacement.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from harness.core.canonical import Json
from harness.record.run import MetricRecord
from harness.report.comparisons import Comparison, against_title, axis_title, between_labels
from harness.report.facts import reach_in_words, size_text
from harness.report.groups import Group, group_cells
from harness.report.load import REPLICATES, RunData
from harness.report.measure import Measures
from harness.report.numbers import number
from harness.report.palette import numbers
from harness.report.tables import metric_title
from harness.stats.spread import cluster_table

REACHED = 0.9
_DRAWS, _SEED = 2000, 0
_MOST_LABELS, _MOST_ROWS = 8, 4
"""Labels of an axis that are all tested against each other; tests that a sentence gives one by one."""
TEACHER, SHARE, ARCHITECTURE, REAL = "teacher", "ratio", "architecture", "real"
_QUESTIONS = {
    TEACHER: "Which teacher?",
    SHARE: "How much domain data, and at what price?",
    ARCHITECTURE: "Dense or a mixture of experts?",
    REAL: "Is a difference real?",
}


@dataclass(frozen=True)
class Answer:
    """A question of the recipe's in words."""

    question: str
    sentences: Sequence[str]
    part: str
    """The part of the page that has the table behind it."""
    table: str
    """Its title."""


@dataclass(frozen=True)
class Answers:
    """What a page says first."""

    given: Sequence[Answer]
    not_asked: Sequence[str]
    """Questions that the recipe has no axis for."""


def answers(
    run: RunData, measures: Measures, compared: Sequence[Comparison], by_axis: Mapping[str, Sequence[Comparison]]
) -> Answers:
    """The answers that a run's scores allow, from the tests of its tables: `compared` are of its rows against their
    baseline, `by_axis` against an axis's first label."""
    given = list[Answer]()
    for kind, axis in axes_asked(run).items():
        if sentences := list(_ANSWERS[kind](run, measures, axis, by_axis.get(axis, ()))):
            given.append(Answer(_QUESTIONS[kind], sentences, "axes", axis_title(run, axis)))
    if compared:
        given.append(Answer(_QUESTIONS[REAL], _real(run, compared), "comparisons", against_title(compared)))
    there = {answer.question for answer in given}
    return Answers(given, [question for question in _QUESTIONS.values() if question not in there])


def axes_asked(run: RunData) -> dict[str, str]:
    """Question -> the axis that asks it: the one whose `$name` stands below that key of the recipe."""
    several = [axis for axis, labels in run.axes.items() if axis not in REPLICATES and len(labels) > 1]
    found: dict[str, str] = {}
    for path, text in _texts(yaml.safe_load(run.recipe) if run.recipe else None):
        axis = text.removeprefix("$")
        if text.startswith("$") and axis in several:
            found |= {kind: axis for kind in (TEACHER, SHARE, ARCHITECTURE) if kind in path and kind not in found}
    return {kind: found[kind] for kind in (TEACHER, SHARE, ARCHITECTURE) if kind in found}


def _texts(value: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)


def _best(run: RunData, measures: Measures, axis: str, _: Sequence[Comparison]) -> Iterator[str]:
    """A sentence for each metric: the label with the best mean, and against which labels that is shown."""
    tested = between_labels(run, measures, axis) if len(run.axes[axis]) <= _MOST_LABELS else []
    for metric in _headline(run):
        means = _means(run, measures, axis, metric)
        if len(means) < 2:
            continue
        best = (max if metric.direction == "higher" else min)(means, key=means.__getitem__)
        mine = [c for c in tested if c.metric == metric and best in (_label(c, 0, axis), _label(c, 1, axis))]
        places = 1 if metric.unit.startswith("%") else 2
        say = f"{metric_title(metric, run)}: {best} has the best mean ({number(means[best], places)} {metric.unit})"
        yield f"{say}; {_against_others(mine, best, axis)}."


def _against_others(tests: Sequence[Comparison], best: str, axis: str) -> str:
    """How the best label's tests went, e.g. `shown better than small in 2 of 3 tests, than tiny in none of 3`."""
    if not tests:
        return "its labels are too many to test all against each other, see the table"
    shown, every = Counter[str](), Counter[str]()
    for c in tests:
        first = _label(c, 0, axis) == best
        other = _label(c, 1, axis) if first else _label(c, 0, axis)
        every[other] += 1
        shown[other] += c.verdict == ("better" if first else "worse")
    if not shown.total():
        return f"no test shows it better than another, of {every.total()} at equal other settings"
    parts = [f"than {other} in {shown[other] or 'none'} of {every[other]}" for other in every]
    return f"of the tests at equal other settings it is shown better {', '.join(parts)}"


def _knee(run: RunData, measures: Measures, axis: str, tests: Sequence[Comparison]) -> Iterator[str]:
    """The knee on each domain metric, and what general scores pay for it."""
    labels = run.axes[axis]
    shares = numbers(labels)
    if shares is None:
        return
    order = [labels[k] for k in np.argsort(shares, kind="stable")]
    general = [m for m in _headline(run) if m.role == "general"]
    for metric in (m for m in _headline(run) if m.role == "domain"):
        table = _by_label(run, measures, axis, metric, order)
        if table is None:
            yield f"{metric_title(metric, run)}: a knee needs samples of every share on the same questions."
            continue
        sign = 1 if metric.direction == "higher" else -1
        gain = sign * (table.mean(axis=1) - table[0].mean())
        if gain.max() <= 0:
            yield f"{metric_title(metric, run)}: no share has a better mean than {order[0]}."
            continue
        knee, drawn = int(knees(gain[None, :])[0]), knees(_drawn_gains(sign * table))
        low, high = (order[int(k)] for k in np.quantile(drawn, (0.025, 0.975), method="nearest"))
        best = order[int(gain.argmax())]
        brought = f"{number(gain.max(), 1)} {_unit(metric)}, at {best}"
        yield (
            f"{metric_title(metric, run)}: {100 * REACHED:.0f} % of what domain data bring ({brought}) is reached at "
            f"{order[knee]} (95 % over questions: {low} to {high})."
        )
        paid = [c for c in tests if (_label(c, 0, axis), _label(c, 1, axis)) == (order[knee], order[0])]
        yield from (_price(run, m, axis, of) for m in general if (of := [c for c in paid if c.metric == m]))


def knees(gains: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of each row of gains over the first share (draws x shares): the first share with REACHED of the largest gain; the
    first of all where nothing is gained."""
    enough = gains >= REACHED * gains.max(axis=1, keepdims=True)
    found: NDArray[np.intp] = np.where(gains.max(axis=1) > 0, enough.argmax(axis=1), 0)
    return found


def _drawn_gains(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gains over the first share with the questions drawn anew (draws x shares)."""
    count = table.shape[1]
    weights = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), _DRAWS) / count
    means: NDArray[np.float64] = weights @ table.T
    return means - means[:, :1]


def _price(run: RunData, metric: MetricRecord, axis: str, tests: Sequence[Comparison]) -> str:
    """What a general score is at the knee against no domain data, row by row."""
    where = f"at {_label(tests[0], 0, axis)} against {_label(tests[0], 1, axis)}"
    said = [f"{size_text(c)} {_unit(metric)} ({c.verdict}){_beside(c, axis)}" for c in tests]
    if len(tests) > _MOST_ROWS:
        said = [f"{verdict} in {count} of {len(tests)} tests" for verdict, count in _counted(tests).items()]
    return f"{metric_title(metric, run)} {where}: {'; '.join(said)}."


def _unit(metric: MetricRecord) -> str:
    """Of a difference."""
    return "percentage points" if metric.unit == "%" else metric.unit


def _beside(c: Comparison, axis: str) -> str:
    """The other labels of a comparison's rows."""
    others = [label for name, label in c.group.labels if name != axis]
    return f" for {' · '.join(others)}" if others else ""


def _architecture(run: RunData, _: Measures, axis: str, tests: Sequence[Comparison]) -> Iterator[str]:
    """How each architecture's tests against the first went, on each metric; and what was not held equal."""
    first = run.axes[axis][0]
    for label in run.axes[axis][1:]:
        mine = [c for c in tests if _label(c, 0, axis) == label]
        for metric in _headline(run):
            verdicts = _counted([c for c in mine if c.metric == metric])
            said = ", ".join(f"{verdict} in {count}" for verdict, count in verdicts.items())
            if said:
                yield f"{metric_title(metric, run)}: {label} against {first}: {said} of {verdicts.total()} tests."
    yield "Equal between them is what the recipe holds equal; at equal memory is another question, not asked here."


def _real(run: RunData, compared: Sequence[Comparison]) -> list[str]:
    verdicts = _counted(compared)
    shown = verdicts["better"] + verdicts["worse"]
    rest = {verdict: count for verdict, count in verdicts.items() if verdict not in ("better", "worse")}
    others = ", ".join(f"{count} {verdict}" for verdict, count in rest.items())
    words = (
        f"{shown} of {len(compared)} tests show a difference after Holm's correction{f' ({others})' if others else ''}."
    )
    return [said for said in (words, reach_in_words(run, compared)) if said]


def _counted(tests: Sequence[Comparison]) -> Counter[str]:
    return Counter(c.verdict for c in tests)


_ANSWERS = {TEACHER: _best, SHARE: _knee, ARCHITECTURE: _architecture}


def _headline(run: RunData) -> list[MetricRecord]:
    return [m for m in run.metrics if m.headline]


def _label(c: Comparison, side: int, axis: str) -> str:
    return dict((c.group, c.base)[side].labels).get(axis, "")


def _means(run: RunData, measures: Measures, axis: str, metric: MetricRecord) -> dict[str, float]:
    """The mean over the rows of each label at equal other settings; only labels whose rows all have a score."""
    means = {}
    for label, groups in _at_equal_settings(run, axis).items():
        estimates = [measures.estimate(group, metric) for group in groups]
        values = [e.value for e in estimates if e is not None and e.value is not None]
        if groups and len(values) == len(groups):
            means[label] = float(np.mean(values))
    return means


def _at_equal_settings(run: RunData, axis: str) -> dict[str, list[Group]]:
    """Label -> its rows whose other settings every label has a row with, so that means over them differ by the axis."""
    rows: dict[str, dict[frozenset[tuple[str, str]], Group]] = {label: {} for label in run.axes[axis]}
    for group in group_cells(run):
        labels = dict(group.labels)
        if not group.baseline and (label := labels.pop(axis, None)) in rows:
            rows[label][frozenset(labels.items())] = group
    shared = frozenset.intersection(*(frozenset(of_label) for of_label in rows.values()))
    return {label: [group for key, group in of_label.items() if key in shared] for label, of_label in rows.items()}


def _by_label(
    run: RunData, measures: Measures, axis: str, metric: MetricRecord, order: Sequence[str]
) -> NDArray[np.float64] | None:
    """Labels x questions: the mean over each label's cells; None without samples of questions that all share."""
    equal = _at_equal_settings(run, axis)
    cells = {label: [cell for group in equal[label] for cell in group.replicates()] for label in order}
    rows = {label: [measures.rows(cell, metric) for cell in named] for label, named in cells.items()}
    every = [r for of_label in rows.values() for r in of_label]
    if not all(rows.values()) or not all(len(r.values) for r in every):
        return None
    table = cluster_table(every)
    if not table.shape[1]:
        return None
    ends = np.cumsum([len(rows[label]) for label in order])[:-1]
    return np.array([part.mean(axis=0) for part in np.split(table, ends)])


def anchor(title: str) -> str:
    """The id that a Markdown page gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
