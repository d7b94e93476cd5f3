"""The teachers page's figures: reward against loss, ranks with intervals and as beta moves, scores against outcomes."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.drawing import Drawing
from harness.report.labels import name_points
from harness.report.style import COLOURS, GRID, INK, MARKERS, MUTED, Look, figure
from harness.report.teacher_tables import file_name, lead_score, score_title
from harness.report.teacher_validation import validation_order
from harness.report.teachers import TeacherData, outcomes, strengths
from harness.teachers.api import Floats
from harness.teachers.car import car_sweep
from harness.teachers.panel import Panel, build_panels, resample_weights
from harness.teachers.validation import MEAN

_WIDTH = 6.4
_LONGEST = 30
_RESAMPLES = 2000


def drawings(data: TeacherData, found: pd.DataFrame | None) -> Iterator[Drawing]:
    """Every figure that there is data for; `found` is the validation's table, where students were trained."""
    style = family_looks(data.about)
    students = [str(s) for s in dict.fromkeys(data.board["student"])]
    panels = {p.student: p for p in build_panels(data.parts, data.settings.common) if p.score.name == "car"}
    for k, student in enumerate(students):
        if student in panels and panels[student].used.any():
            caption = (
                f"{student}: mean reward against mean loss, with 95 % bootstrap intervals. Along a dashed line CAR is "
                f"the same (β = {data.settings.car.beta:g}); better is up and left. Colours are families."
            )
            yield Drawing(f"teachers_car_{k}", "car", caption, partial(scatter, data, panels[student], style))
    title = score_title(lead_score(data.board))
    for k, student in enumerate(students):
        caption = f"{student}: rank by {title} and its 95 % bootstrap interval; at the right, how often it comes first."
        yield Drawing(f"teachers_ranks_{k}", "ranks", caption, partial(rank_forest, data, student, style))
    for k, student in enumerate(students):
        if data.sweep is not None and student in set(data.sweep.frame["student"]):
            caption = f"{student}: rank by CAR as β moves; a dot is where two teachers swap."
            yield Drawing(f"teachers_beta_{k}", "beta", caption, partial(bump, data, student))
    if found is not None:
        for outcome in dict.fromkeys(found["outcome"]):
            yield from _validation_drawings(data, found[found["outcome"] == outcome], str(outcome), students, style)


def _validation_drawings(
    data: TeacherData, found: pd.DataFrame, outcome: str, students: Sequence[str], style: dict[str, Look]
) -> Iterator[Drawing]:
    section = f"outcome {outcome}"
    caption = (
        f"{outcome}: Spearman correlation with what students achieved, mean over student bases, 95 % over teachers; "
        "hollow: baselines; the band is where 95 % of random rankings lie."
    )
    name = file_name("teachers_validation", outcome)
    yield Drawing(name, section, caption, partial(spearman_forest, found, outcome))
    own = strengths(data, _pair(outcome))
    achieved = outcomes(data, _pair(outcome)).merge(data.about.drop(columns="strength"), on="teacher")
    achieved["strength"] = achieved["teacher"].map(own)
    for k, student in enumerate(students):
        mine = achieved[(achieved["student"] == student) & achieved[["value", "strength"]].notna().all(axis=1)]
        if mine["strength"].nunique() > 1:
            name = file_name("teachers_strength", outcome, str(k))
            caption = f"{student}: what it achieved against its teacher's own strength; small dots are single runs."
            yield Drawing(name, section, caption, partial(strength, mine, outcome, style))


def _pair(outcome: str) -> tuple[str, str]:
    benchmark, _, metric = outcome.partition(".")
    return benchmark, metric


def family_looks(about: pd.DataFrame) -> dict[str, Look]:
    """By teacher: a colour and marker per family; a teacher without one is neutral."""
    families = [f for f in dict.fromkeys(about["family"].fillna("")) if f]
    looks = {
        f: Look(COLOURS[k % len(COLOURS)], MARKERS[k // len(COLOURS) % len(MARKERS)]) for k, f in enumerate(families)
    }
    named = zip(about["teacher"], about["family"].fillna(""), strict=True)
    return {str(teacher): looks.get(family, Look(MUTED, "o")) for teacher, family in named}


def short(name: str) -> str:
    """A name that fits beside a point, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def scatter(data: TeacherData, panel: Panel, style: dict[str, Look]) -> Figure:
    """Reward against loss with intervals, and lines of equal CAR."""
    car = data.settings.car
    values = panel.means(np.ones((1, len(panel.values))))[0]
    kept = np.flatnonzero(np.isfinite(values).all(axis=1))
    names, values = [panel.teachers[t] for t in kept], values[kept]
    resampled = [panel.means(w)[:, kept] for w in resample_weights(len(panel.values), _RESAMPLES, 0)]
    low, high = np.nanquantile(np.concatenate(resampled), [0.025, 0.975], axis=0)
    drawn, axes = figure(_WIDTH, 4.8)
    bars = []
    for t, name in enumerate(names):
        look = style[name]
        reward, loss = values[t]
        bars += [(low[t, 1], reward, high[t, 1], reward), (loss, low[t, 0], loss, high[t, 0])]
        for x0, y0, x1, y1 in bars[-2:]:
            axes.plot([x0, x1], [y0, y1], color=look.colour, linewidth=0.8, alpha=0.45)
        axes.plot(loss, reward, look.marker, color=look.colour, markersize=6)
    axes.margins(0.1)
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    rewards = values[:, 0] + (car.shift or 0.0)
    _equal_car(axes, rewards / (1 + car.beta * values[:, 1]), car.beta, car.shift or 0.0)
    axes.set_xlabel("mean loss of the student base, nats/token; lower is better")
    axes.set_ylabel("mean reward; higher is better")
    axes.set_title(short(panel.student), loc="left", fontweight="bold", color=INK, pad=16)
    name_points(axes, [(float(x), float(y), short(n)) for n, (y, x) in zip(names, values, strict=True)], bars)
    return drawn


def _equal_car(axes: Axes, car: Floats, beta: float, shift: float) -> None:
    """Lines reward = c (1 + beta loss) - shift at round values c of CAR, named where they leave the axes."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    name = "CAR "
    for c in MaxNLocator(6).tick_values(float(car.min()), float(car.max())):
        ends = [c * (1 + beta * x) - shift for x in (left, right)]
        if max(ends) <= bottom or min(ends) >= top:
            continue
        axes.plot([left, right], ends, color=MUTED, linewidth=0.7, alpha=0.5, linestyle=(0, (5, 4)), zorder=0.5)
        x, y = right, ends[1]
        if y > top and c * beta > 0:
            x, y = ((top + shift) / c - 1) / beta, top
        if bottom <= y <= top:
            inside = x < right
            name, prefix = "", name
            axes.annotate(
                f"{prefix}{c:g}", (x, y), (0, 3) if inside else (3, 0), textcoords="offset points", size=7, color=MUTED,
                ha="center" if inside else "left", va="bottom" if inside else "center", annotation_clip=False,
            )  # fmt: skip


def rank_forest(data: TeacherData, student: str, style: dict[str, Look]) -> Figure:
    """One row per teacher: its rank, the rank's interval, and how often it comes first."""
    lead = lead_score(data.board)
    rows = data.board[(data.board["student"] == student) & (data.board["score"] == lead)].dropna(subset=["rank"])
    drawn, axes = figure(_WIDTH, 0.95 + 0.24 * len(rows))
    for place, r in enumerate(rows.to_dict("records")):
        look = style[str(r["teacher"])]
        if not pd.isna(r["rank_low"]):
            axes.plot([r["rank_low"], r["rank_high"]], [place, place], color=look.colour, linewidth=1.6)
        axes.plot(r["rank"], place, look.marker, color=look.colour, markersize=6)
        if not pd.isna(r["first"]) and r["first"] >= 0.005:
            axes.annotate(
                f"{100 * r['first']:.0f} %", (1, place), (5, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", size=8, annotation_clip=False,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), [short(str(t)) for t in rows["teacher"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"rank by {score_title(lead)}, 1 is best")
    axes.set_title(short(student), loc="left", fontweight="bold", color=INK)
    return drawn


def bump(data: TeacherData, student: str) -> Figure:
    """Ranks as beta moves, through every crossing; those that are ever first stand out."""
    assert data.sweep is not None, "asked for only where CAR was swept"
    swept = sorted(set(data.sweep.frame["beta"]))
    crossings = data.sweep.crossings[data.sweep.crossings["student"] == student]
    inside = sorted({float(b) for b in crossings["beta"] if swept[0] < b < swept[-1]})
    parts = data.parts[data.parts["student"] == student]
    ranks = car_sweep(parts, data.settings, sorted({*swept, *inside}), resamples=1).frame.dropna(subset=["rank"])
    wide = ranks.pivot(index="beta", columns="teacher", values="rank")
    last = list(wide.iloc[-1].sort_values(kind="stable").index)
    first = list(wide.iloc[0].sort_values(kind="stable").index)
    leaders = [t for t in last if wide[t].min() < 2]
    across = np.interp(wide.index.to_numpy(), swept, np.arange(len(swept)))
    drawn, axes = figure(_WIDTH, 1.1 + 0.24 * len(last))
    for teacher in last:
        leads = teacher in leaders
        colour = COLOURS[leaders.index(teacher) % len(COLOURS)] if leads else MUTED
        axes.plot(across, wide[teacher], color=colour, linewidth=1.9 if leads else 0.9, zorder=3 if leads else 2)
    swaps = wide.loc[wide.index.isin(inside)]
    for x, at in zip(across[wide.index.isin(inside)], swaps.to_numpy(), strict=True):
        halves = np.unique(at[at % 1 == 0.5])
        axes.plot([x] * len(halves), halves, "o", color=INK, markersize=2.6, zorder=4)
    for names, x, away in ((first, 0, -6), (last, len(swept) - 1, 6)):
        for place, teacher in enumerate(names, start=1):
            axes.annotate(
                f"{place}  {short(teacher)}" if away > 0 else f"{place}", (x, place), (away, 0),
                textcoords="offset points", ha="left" if away > 0 else "right", va="center", size=7.5,
                color=INK if teacher in leaders else MUTED, annotation_clip=False,
            )  # fmt: skip
    axes.set_xticks(range(len(swept)), [f"{b:g}" for b in swept])
    axes.set_xlim(0, max(1, len(swept) - 1))
    axes.set_yticks([])
    axes.set_ylim(len(last) + 0.6, 0.4)
    axes.set_xlabel("β")
    axes.set_ylabel("rank by CAR, 1 is best", labelpad=16)
    axes.set_title(short(student), loc="left", fontweight="bold", color=INK)
    return drawn


def spearman_forest(found: pd.DataFrame, outcome: str) -> Figure:
    """One row per score and baseline: mean Spearman correlation and its interval over teachers."""
    rows = found[(found["student"] == MEAN) & (found["statistic"] == "spearman")].set_index("score")
    order = [s for s in validation_order(rows.dropna(subset=["value"]).reset_index()) if s != "random"]
    drawn, axes = figure(_WIDTH, 1.0 + 0.26 * max(1, len(order)))
    for chance in rows.loc[["random"]].dropna(subset=["low"]).to_dict("records"):
        axes.axvspan(chance["low"], chance["high"], color=GRID, alpha=0.5, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for place, r in enumerate(rows.loc[order].to_dict("records")):
        colour = MUTED if r["baseline"] else COLOURS[0]
        if not pd.isna(r["low"]):
            axes.plot([r["low"], r["high"]], [place, place], color=colour, linewidth=1.6, zorder=2)
        face = "none" if r["baseline"] else colour
        axes.plot(r["value"], place, "s" if r["baseline"] else "o", color=colour, markerfacecolor=face, markersize=6)
    axes.set_yticks(range(len(order)), [score_title(s) for s in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(-1.05, 1.05)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Spearman correlation with the outcome; higher is better")
    axes.set_title(short(outcome), loc="left", fontweight="bold", color=INK)
    return drawn


def strength(rows: pd.DataFrame, outcome: str, style: dict[str, Look]) -> Figure:
    """What students achieved against their teachers' own strength: means, and single runs as small dots."""
    drawn, axes = figure(_WIDTH, 4.2)
    points, bars = [], []
    for teacher, runs in rows.groupby("teacher", sort=False):
        look = style[str(teacher)]
        x, mean = float(runs["strength"].iloc[0]), float(runs["value"].mean())
        if len(runs) > 1:
            axes.plot(
                [x] * len(runs), runs["value"], "o", color=look.colour, markersize=3, alpha=0.5, markeredgewidth=0
            )
        axes.plot(x, mean, look.marker, color=look.colour, markersize=6)
        bars.append((x, float(runs["value"].min()), x, float(runs["value"].max())))
        points.append((x, mean, short(str(teacher))))
    axes.margins(0.14)
    axes.set_xlabel("the teacher's own strength")
    axes.set_ylabel(f"the student's {short(outcome)}")
    axes.set_title(short(str(rows["student"].iloc[0])), loc="left", fontweight="bold", color=INK)
    name_points(axes, points, bars)
    return drawn
