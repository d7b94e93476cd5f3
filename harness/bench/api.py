"""A benchmark: questions in, per-sample records out, scores made of those records alone.

A benchmark is one module (or package) in this folder, or a plug-in, that exports `BENCHMARK`: a `JudgedBenchmark`,
whose questions a model answers and a judge scores (stages answer -> judge -> score), or a `MeasuredBenchmark`, which
takes its numbers from the model itself (measure -> score). `bench.open(settings, files)` gives the object that does the
work. Nothing here imports torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import pandas as pd

from harness.core.canonical import Json
from harness.core.discover import discover
from harness.core.settings import Named, Settings
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Program, Verdict
from harness.stats.audit import FEWEST
from harness.store.ledger import Status

S = TypeVar("S", bound=Settings)
"""The settings of one benchmark."""


@dataclass(frozen=True)
class Metric:
    """A number a benchmark reports."""

    name: str
    unit: str
    """e.g. `points (1-10)`, `%`."""
    direction: Literal["higher", "lower"]
    role: Literal["general", "domain"]
    headline: bool = True
    """Shown in the sweep's main table."""
    binary: bool = False
    """Each sample is a miss (0) or a hit (100 where the unit is in %, else 1): intervals are those of a proportion."""
    rate: bool = False
    """In %, and a share of hits though its samples are no hits and misses: with few hits intervals are a share's."""
    mean: bool = True
    """A score is the mean of its samples, which are in the metric's unit; a metric that is not is compared by the
    standard errors of its scores, without pairing."""
    audits: str = ""
    """The metric of the live judge whose audited score this is (`bench/audit.py`)."""
    judge: str = ""
    """The judge of a panel whose own score this is (`bench/panel.py`)."""
    fewest_audited: int = FEWEST
    """Audited questions below which an audit gives it no score, because its intervals would not hold."""


@dataclass(frozen=True)
class Question:
    """One conversation to hold with a model."""

    id: str
    category: str
    turns: tuple[str, ...]
    temperature: float
    """0 is greedy."""
    max_new_tokens: int
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Data that judging needs beyond the text: references, a checker's facts."""
    system: str | None = None
    """A system message that begins the conversation."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that together have this probability."""


@dataclass(frozen=True)
class Sample:
    """One row of the samples table. The cell's name is added by the run."""

    benchmark: str
    metric: str
    item: str
    cluster: str
    """The items that are resampled together have one name (MT-Bench: the question of both turns)."""
    category: str
    turn: int
    repeat: int
    value: float | None
    """In the metric's unit."""
    status: Status
    length: int
    """Characters of the judged answer."""


SAMPLE_COLUMNS = tuple(Sample.__dataclass_fields__)
SCORE_COLUMNS = ("benchmark", "metric", "category", "value", "stderr", "n", "total")
"""`value` is null when nothing was scored; `stderr` is null when it cannot be known (one cluster)."""
APPROXIMATE = "approximate"
"""A further column of some scores: true where the number stands in for another that needs data we do not have."""


def samples_frame(samples: Sequence[Sample]) -> pd.DataFrame:
    """The samples as a table with SAMPLE_COLUMNS, `value` as nullable float."""
    frame = pd.DataFrame([asdict(s) for s in samples], columns=list(SAMPLE_COLUMNS))
    return frame.astype({"value": "Float64", "turn": "int64", "repeat": "int64", "length": "int64"})


@dataclass(frozen=True)
class Opened(ABC, Generic[S]):
    """A benchmark with its settings and files; nothing is read before it is needed."""

    settings: S
    files: Mapping[str, Path]
    """The input files by role, wherever they are now."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The numbers that it reports."""

    @abstractmethod
    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Scores (SCORE_COLUMNS, and `approximate` where a score may be) from samples of one cell; pure."""


class OpenJudged(Opened[S]):
    """Questions that a model answers in text and a judge scores."""

    @property
    @abstractmethod
    def questions(self) -> Sequence[Question]:
        """The conversations, in a fixed order."""

    @abstractmethod
    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """One task per judged turn whose answer exists."""

    @abstractmethod
    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """One row per expected verdict: a verdict that failed or never came has a null value, and `status` says why."""

    @abstractmethod
    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write one model's files in the format of the benchmark's own tools into `folder`."""


@dataclass(frozen=True)
class Measured:
    """A model as a measured benchmark gets it."""

    folder: Path
    """The model, a Hugging Face folder."""
    dtype: Literal["float32", "bfloat16"]
    batch_size: int
    seed: int
    """For few-shot draws and the like."""
    out: Path
    """For files in the formats of the benchmark's own tools; kept with the samples."""
    progress: Callable[[int, int, str], None]
    """(done, total, unit)"""
    teacher: Path | None = None
    """The folder of the model that it is measured beside (`MeasuredBenchmark.teacher`)."""


class OpenMeasured(Opened[S]):
    """Numbers taken from the model itself, e.g. likelihoods, or by a harness that runs the model on its own."""

    @abstractmethod
    def measure(self, model: Measured) -> list[Sample]:
        """One row per item and metric; an item that could not be measured has a null value and says so in `status`.

        May write `transcripts.jsonl` to `model.out`: rows {item, question, answer, reference} that reports show.
        """

    @abstractmethod
    def export(self, folder: Path, model: str, measured: Path) -> None:
        """Write one model's files in the format of the benchmark's own tools into `folder`, from what `out` held."""


@dataclass(frozen=True)
class Benchmark(Generic[S]):
    """A benchmark as a recipe names it under `evaluate`."""

    name: str
    version: int
    """Raise it when questions, judging or samples change meaning: it is part of every stage's identity."""
    settings: type[S]
    files: Callable[[S], dict[str, Path]]
    """The input files by role (`questions`, `references`, ...): pinned by content, read once it is open."""


@dataclass(frozen=True)
class JudgedBenchmark(Benchmark[S]):
    """A benchmark whose answers are judged."""

    open: Callable[[S, Mapping[str, Path]], OpenJudged[Any]]
    form: Callable[[S], str]
    """The kind of verdict that a model judge is asked for: a form of `harness.judge.forms`."""
    program: Program | None = None
    """The program judge, for a benchmark whose truth is a program; None when a model must judge."""


@dataclass(frozen=True)
class MeasuredBenchmark(Benchmark[S]):
    """A benchmark that measures the model itself."""

    open: Callable[[S, Mapping[str, Path]], OpenMeasured[Any]]
    teacher: Callable[[S], str | None] = lambda settings: None
    """`teacher` (the recipe's) or the reference of a model that each model is measured beside; None: it is alone."""


def benchmarks() -> Mapping[str, Benchmark[Any]]:
    """Every benchmark by name."""
    return discover("harness.bench", "BENCHMARK", Benchmark)


def teacher_of(chosen: Named[Any]) -> str | None:
    """What `MeasuredBenchmark.teacher` says of a benchmark of a recipe; None for a judged benchmark."""
    bench = benchmarks().get(chosen.name)
    return bench.teacher(chosen.settings) if isinstance(bench, MeasuredBenchmark) else None
