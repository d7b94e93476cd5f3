"""Which colour and marker each row has, and what a legend says of them.

Up to six rows of a sweep have a colour each. Where there are more, colours stand for the labels of one axis, so that
a figure says what that axis does instead of naming forty lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.groups import Group
from harness.report.style import COLOURS, MARKERS, MUTED, Look

MOST_BASELINES = 3
"""That are told apart; more are drawn alike."""
_DASHES = ("--", ":", "-.")


@dataclass(frozen=True)
class Palette:
    """How each row is drawn, and what a legend says of it."""

    looks: Mapping[str, Look]
    """By the group's name."""
    legend: tuple[tuple[str, Look], ...]
    axis: str = ""
    """The axis whose labels colours stand for; empty where every row has its own."""

    def rows_of(self, look: Look, groups: Sequence[Group]) -> list[Group]:
        """Those of `groups` that are drawn so."""
        return [g for g in groups if self.looks[g.name] == look]


def palette(groups: Sequence[Group]) -> Palette:
    """Colours for rows: baselines are neutral and dashed, the sweep takes the colours in order."""
    swept, fixed = [g for g in groups if not g.baseline], [g for g in groups if g.baseline]
    few = len(fixed) <= MOST_BASELINES
    neutral = {g.name: Look(MUTED, MARKERS[-1 - k * few], _DASHES[k * few]) for k, g in enumerate(fixed)}
    titles = [(g.title, neutral[g.name]) for g in fixed] if few else [("baselines", neutral[fixed[0].name])]
    axis = "" if len(swept) <= len(COLOURS) else telling_axis(swept)
    if not axis:
        own = {g.name: _look(k) for k, g in enumerate(swept)}
        return Palette(neutral | own, (*titles, *((g.title, own[g.name]) for g in swept)))
    by_label = {label: _look(k) for k, label in enumerate(_labels(swept)[axis])}
    shared = {g.name: by_label[dict(g.labels)[axis]] for g in swept}
    return Palette(neutral | shared, (*titles, *by_label.items()), axis)


def telling_axis(groups: Sequence[Group]) -> str:
    """The axis that colours tell apart: of those with at most six labels one of names before one of numbers, then the
    one with most labels; where each has more than six, the one with fewest. Empty where no axis has two labels."""
    labels = {axis: found for axis, found in _labels(groups).items() if len(found) > 1}
    few = [a for a in labels if len(labels[a]) <= len(COLOURS)]
    if few:
        return max(few, key=lambda a: (numbers(labels[a]) is None, len(labels[a])))
    return min(labels, key=lambda a: len(labels[a]), default="")


def numbers(labels: Sequence[str]) -> list[float] | None:
    """An axis's labels as numbers; None where one is not, or there is only one."""
    try:
        return [float(label) for label in labels] if len(labels) > 1 else None
    except ValueError:
        return None


def lines_along(groups: Sequence[Group], axis: str) -> list[tuple[Group, list[Group]]]:
    """Rows of a sweep that differ only along `axis`, and what they share as a row of its own, titled by it."""
    found: dict[tuple[tuple[str, str], ...], list[Group]] = {}
    for group in groups:
        if not group.baseline and axis in dict(group.labels):
            found.setdefault(tuple((a, label) for a, label in group.labels if a != axis), []).append(group)
    return [(Group(",".join(f"{a}={x}" for a, x in rest), rest, ()), members) for rest, members in found.items()]


def _labels(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The labels of each axis that every row has, in the order of the rows."""
    common = set.intersection(*(set(dict(g.labels)) for g in groups)) if groups else set()
    axes = [axis for axis, _ in groups[0].labels if axis in common] if groups else []
    return {axis: list(dict.fromkeys(dict(g.labels)[axis] for g in groups)) for axis in axes}


def _look(k: int) -> Look:
    """The k-th look: colours in order, then again with other markers and dashes."""
    again = k // len(COLOURS)
    return Look(COLOURS[k % len(COLOURS)], MARKERS[(k + again) % len(MARKERS)], ("-", *_DASHES)[again % 4])
