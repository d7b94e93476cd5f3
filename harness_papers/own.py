"""A run beside the papers: what it has for their tables, and how its protocol differs from theirs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from harness.bench.api import benchmarks
from harness.core.errors import HarnessError
from harness.record.run import MetricRecord
from harness.report.groups import Group, group_cells
from harness.report.load import DRAW_AXIS, SEED_AXIS, RunData, load_run
from harness.report.measure import Estimate, Measures
from harness.report.tables import Entry, benchmark_title

_TEACHER = "teacher"


@dataclass(frozen=True)
class OwnRun:
    """A run folder and what is read from it."""

    folder: Path
    data: RunData

    @property
    def name(self) -> str:
        """The run's."""
        return self.data.name

    @property
    def source(self) -> str:
        """What its rows are marked with."""
        return f"run {self.name}"

    @cached_property
    def measures(self) -> Measures:
        """Its estimates."""
        return Measures(self.data)

    @cached_property
    def groups(self) -> list[Group]:
        """Its rows, seeds merged, baselines first."""
        return group_cells(self.data)

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe as plain YAML."""
        return yaml.safe_load(self.data.recipe) or {}


def load_own(folders: Sequence[Path]) -> list[OwnRun]:
    """Read run folders.

    Raises:
        HarnessError: one is none, or two have one name and could not be told apart.
    """
    runs = [OwnRun(folder, load_run(folder)) for folder in folders]
    for name, count in Counter(run.name for run in runs).items():
        if count > 1:
            raise HarnessError(f"{count} runs are named {name}", where="--run", fix="Rename one, or build them apart.")
    return runs


def metrics_of(run: OwnRun, benchmarks: Sequence[str], for_what: str) -> list[MetricRecord]:
    """The run's headline metrics of these benchmarks.

    Raises:
        HarnessError: it has none.
    """
    found = [m for m in run.data.metrics if m.benchmark in benchmarks and m.headline]
    if not found:
        has = ", ".join(dict.fromkeys(m.benchmark for m in run.data.metrics)) or "none"
        raise HarnessError(
            f"nothing for {for_what}: it has no scores of {', '.join(benchmarks)}; its benchmarks: {has}",
            where=run.source,
            fix="Evaluate one of these benchmarks in its recipe.",
        )
    return found


def taught(run: OwnRun, for_what: str) -> dict[tuple[str, str], Group]:
    """(teacher, base) -> row. The base is every other label of the row, or the one student where there is none.

    Raises:
        HarnessError: the run does not sweep teachers.
    """
    if _TEACHER not in run.data.axes:
        raise HarnessError(
            f"nothing for {for_what}: it lacks an axis `teacher`; its axes: {', '.join(run.data.axes) or 'none'}",
            where=run.source,
            fix="Give its recipe an axis `teacher` (and `student`), as in recipes/pocket-teachers.yaml.",
        )
    alone = _named(run, "student")
    found = {}
    for group in (g for g in run.groups if not g.baseline):
        labels = dict(group.labels)
        teacher = labels.pop(_TEACHER)
        found[teacher, " · ".join(labels.values()) or alone] = group
    return found


def protocol(run: OwnRun, paper: str, metrics: Sequence[MetricRecord], shown: Sequence[Entry]) -> tuple[str, ...]:
    """A run's caption: what differs from `paper` (its own protocol in words)."""
    names = list(dict.fromkeys(m.benchmark for m in metrics))
    facts = [
        f"models {_named(run, 'student')}" + (f" taught by {_named(run, _TEACHER)}" if _has_teacher(run) else ""),
        "; ".join(_judged(run, name) for name in names),
        "; ".join(_asked(run, name) for name in names),
        _coverage([e for e in shown if isinstance(e, Estimate)]),
    ]
    seeds = len(run.data.axes.get(SEED_AXIS, ()))
    facts += [f"{seeds} seeds" if seeds > 1 else "one seed"]
    if DRAW_AXIS in run.data.axes:
        facts.append(f"{len(run.data.axes[DRAW_AXIS])} draws")
    if "pocket" in names:
        facts.append(
            "benchmark `pocket`: small made-up tasks that a program checks, so only orders and patterns can be compared"
        )
    own = "; ".join(f for f in facts if f)
    return (f"Run {run.name}: {own}.", f"The paper: {paper}. Where the two protocols differ, so may the numbers.")


def _has_teacher(run: OwnRun) -> bool:
    return _TEACHER in run.recipe or _TEACHER in run.data.axes


def _named(run: OwnRun, what: str) -> str:
    """A setting of the recipe in words: the axis's labels where it is swept."""
    labels = run.data.axes.get(what)
    if labels:
        return ", ".join(labels)
    value = run.recipe.get(what)
    if isinstance(value, Mapping):
        value = value.get("model", "recorded responses")
    return str(value) if value is not None else "not named"


def _judged(run: OwnRun, benchmark: str) -> str:
    """`MT-Bench judged by X (protocol, not calibrated)`."""
    judges = [j for j in run.data.judges if j.benchmark == benchmark]
    words = []
    for judge in judges:
        state = "uninformative" if judge.uninformative else "not calibrated" if judge.calibrated is False else ""
        words.append(f"{judge.judge} ({', '.join(w for w in (judge.protocol, state) if w)})")
    return f"{benchmark_title(benchmark)} judged by {', '.join(words) or 'an unknown judge'}"


def _asked(run: OwnRun, benchmark: str) -> str:
    """How much of a benchmark was asked, and how long answers could be, beside what the benchmark itself allows."""
    evaluate = run.recipe.get("evaluate")
    entries = evaluate if isinstance(evaluate, list) else []
    settings: Mapping[str, Any] = {}
    for entry in (e for e in entries if isinstance(e, Mapping) and benchmark in e):
        settings = entry[benchmark] or {}
    known = benchmarks().get(benchmark)
    field = known.settings.model_fields.get("max_new_tokens") if known is not None else None
    usual = field.default if field is not None else None
    tokens = settings.get("max_new_tokens", usual)
    words = [f"answers of at most {tokens} tokens" + (f" ({usual} in the benchmark)" if tokens != usual else "")]
    part = {k: v for k, v in settings.items() if k in ("questions", "categories", "prompts", "limit")}
    words += [f"only {key}: {value}" for key, value in part.items()]
    return f"{benchmark_title(benchmark)}: {', '.join(words)}"


def _coverage(shown: Sequence[Estimate]) -> str:
    if not shown:
        return ""
    worst = min(shown, key=lambda e: e.n / e.total if e.total else 0.0)
    return "every sample scored" if worst.n == worst.total else f"at worst {worst.n}/{worst.total} samples scored"
