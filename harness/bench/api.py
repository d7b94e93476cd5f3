"""What a benchmark is: questions in, per-sample records out, a pure aggregate.

A benchmark is one module in this folder that exports `BENCHMARK`: a `GenerativeBenchmark` (the stages answer -> judge
-> score do the rest) or a `MeasuredBenchmark` (measure -> score). Nothing here imports torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd
from typing_extensions import TypeIs

from harness.core.canonical import Json
from harness.core.settings import Settings
from harness.judge.api import JudgeTask, Program, Status, Verdict


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
    """What judging needs beyond the text: references, a checker's facts."""


@dataclass(frozen=True)
class Answer:
    """A model's answers to one question, one text per turn; None where generation failed (`errors` says why)."""

    id: str
    turns: tuple[str | None, ...]
    finish: tuple[str, ...] = ()
    """Per turn: `stop`, `length`, or `error: ...`."""
    tokens: tuple[int, ...] = ()
    """Generated tokens per turn."""


@dataclass(frozen=True)
class Sample:
    """One row of the samples table. The cell's name is added by the run."""

    benchmark: str
    metric: str
    item: str
    cluster: str
    """What is resampled together (MT-Bench: the question of both turns)."""
    category: str
    turn: int
    repeat: int
    value: float | None
    status: Status
    length: int
    """Characters of the judged answer."""


SAMPLE_COLUMNS = tuple(Sample.__dataclass_fields__)
SCORE_COLUMNS = ("benchmark", "metric", "category", "value", "stderr", "n", "total")
"""`value` is null when nothing was scored; `stderr` is null when it cannot be known (one cluster)."""
APPROXIMATE = "approximate"
"""A further column that scores may have: true of a number that stands in for one that needs data we were not given."""


def samples_frame(samples: Sequence[Sample]) -> pd.DataFrame:
    """The samples as a table with SAMPLE_COLUMNS, `value` as nullable float."""
    frame = pd.DataFrame([asdict(s) for s in samples], columns=list(SAMPLE_COLUMNS))
    return frame.astype({"value": "Float64", "turn": "int64", "repeat": "int64", "length": "int64"})


class GenerativeBenchmark(Protocol):
    """Questions that a model answers in text and a judge scores."""

    name: str
    version: int
    """Raise it when questions, judging or samples change meaning: it is part of every stage's identity."""
    settings: type[Settings]
    metrics: tuple[Metric, ...]
    program: Program | None
    """The program judge, for a benchmark whose truth is a program; None when a model must judge."""

    def form(self, settings: Settings) -> str:
        """What kind of verdict a model judge is asked for: a form of `harness.judge.forms`."""
        ...

    def files(self, settings: Settings) -> dict[str, Path]:
        """The input files by role (`questions`, `references`, ...): pinned by content, read by the other methods."""
        ...

    def questions(self, settings: Settings, files: Mapping[str, Path]) -> list[Question]:
        """The conversations, in a fixed order."""
        ...

    def tasks(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
    ) -> list[JudgeTask]:
        """One task per judged turn whose answer exists."""
        ...

    def samples(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
        verdicts: Sequence[Verdict],
    ) -> list[Sample]:
        """One row per expected verdict: what failed or never came has a null value and says so in `status`."""
        ...

    def aggregate(self, samples: pd.DataFrame, files: Mapping[str, Path] | None = None) -> pd.DataFrame:
        """Scores (SCORE_COLUMNS, and `approximate` where one may be) from samples of one cell; pure.

        `files` are those of `files()`, for a score that stands on data of its own (a length model's reference).
        """
        ...

    def export(
        self,
        folder: Path,
        model: str,
        judge: str,
        answers: Sequence[Answer],
        tasks: Sequence[JudgeTask],
        verdicts: Sequence[Verdict],
        questions: Sequence[Question],
    ) -> None:
        """Write one model's files in the format of the benchmark's own tools into `folder`."""
        ...


@dataclass(frozen=True)
class Measured:
    """What a measured benchmark is given of a model."""

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


class MeasuredBenchmark(Protocol):
    """Numbers taken from the model itself, e.g. likelihoods, or by a harness that runs the model on its own."""

    name: str
    version: int
    """Raise it when samples change meaning: it is part of every stage's identity."""
    settings: type[Settings]

    def metrics(self, settings: Settings) -> tuple[Metric, ...]:
        """What it reports with these settings."""
        ...

    def files(self, settings: Settings) -> dict[str, Path]:
        """The input files by role: pinned by content."""
        ...

    def measure(self, settings: Settings, files: Mapping[str, Path], model: Measured) -> list[Sample]:
        """One row per item and metric; an item that could not be measured has a null value and says so in `status`.

        May write `transcripts.jsonl` to `model.out`: rows {item, question, answer, reference} that reports show.
        """
        ...

    def aggregate(self, samples: pd.DataFrame, files: Mapping[str, Path] | None = None) -> pd.DataFrame:
        """Scores (SCORE_COLUMNS) from samples of one cell; pure."""
        ...

    def export(self, folder: Path, model: str, measured: Path) -> None:
        """Write one model's files in the format of the benchmark's own tools into `folder`, from what `out` held."""
        ...


Benchmark = GenerativeBenchmark | MeasuredBenchmark


def is_judged(bench: Benchmark) -> TypeIs[GenerativeBenchmark]:
    """Whether its model's answers are judged."""
    return not hasattr(bench, "measure")


def metrics_of(bench: Benchmark, settings: Settings) -> tuple[Metric, ...]:
    """What a benchmark reports."""
    return bench.metrics if is_judged(bench) else bench.metrics(settings)
