"""What run.json holds: a run fills these classes when it ends, a report reads them again."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.bench.audit import AuditedScore
from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import read_json, write_atomically
from harness.data.contamination import Overlap

AGAIN = "Run the recipe again (finished stages are kept); a run folder is written when a run ends."
_NAMED = 5
"""Missing keys that an error names."""
T = TypeVar("T")


@dataclass(frozen=True)
class CellRecord:
    """One point of the sweep, or a baseline beside it."""

    cell: str
    labels: Mapping[str, str]
    baseline: bool
    failed: str | None
    """Why it has no scores, or fewer than it should."""
    stages: tuple[str, ...] = ()
    """Ids of its score stages, which the plan knows: cells that share them are one replicate."""


@dataclass(frozen=True)
class MetricRecord:
    """A number that a benchmark reports."""

    benchmark: str
    metric: str
    unit: str
    direction: Literal["higher", "lower"]
    role: Literal["general", "domain"]
    headline: bool
    binary: bool
    """Each sample is a miss (0) or a hit (100 where the unit is in %, else 1)."""
    mean: bool
    """A score is the mean of its samples."""
    audits: str = ""
    """The live judge's metric whose audited score this is."""
    judge: str = ""
    """The judge of a panel whose own score this is."""
    rate: bool = False
    """A share of hits, in %, though its samples are no hits and misses."""

    @property
    def live(self) -> "MetricRecord":
        """Of an audited metric the live judge's, which has categories and a sample for each verdict; else itself."""
        return replace(self, metric=self.audits, audits="", headline=False) if self.audits else self

    @property
    def shared(self) -> str:
        """Of a panel's judge the name of the panel's metric; else its own."""
        return self.metric.removesuffix(f"_by_{self.judge}") if self.judge else self.metric

    @property
    def hit(self) -> float:
        """What a hit of a binary metric, or of a rate, is in its unit."""
        return 100.0 if "%" in self.unit else 1.0


@dataclass(frozen=True, kw_only=True)
class JudgeRecord:
    """Who judged a benchmark, and whether its verdicts were ever checked against known ones."""

    benchmark: str
    judge: str
    protocol: str
    panel: str = ""
    """The names of the panel's judges, where it is one of a panel."""
    calibrated: bool | None
    """True of a program, which needs no calibration; None where the question does not arise."""
    uninformative: bool | None = None
    """Its calibration found that its verdicts say next to nothing; None where it has no calibration."""
    note: str


@dataclass(frozen=True)
class SameFamilyRecord:
    """A judge of the family of a model that it ranks."""

    cell: str
    benchmark: str
    judge: str
    family: str
    role: str
    """`student` or `teacher`: which model of the cell is of that family."""


@dataclass(frozen=True)
class FailureRecord:
    """The failed verdicts of one reason."""

    status: str
    words: str
    """An example: of the server or of the judge."""
    count: int
    which: tuple[str, ...]
    """Item and turn of each: `81/2`, with the variant of a pair."""


@dataclass(frozen=True)
class JudgingRecord:
    """What a model judge made of one cell's answers on one benchmark."""

    cell: str
    benchmark: str
    answers: int
    with_verdict_pattern: int
    """Answers that hold what a judge might take for its own verdict."""
    repeats: int
    """How often it was asked about one answer."""
    repeat_sd: float | None
    """The standard deviation of verdicts on one answer; None where there are no two."""
    verdicts: int
    failed: tuple[FailureRecord, ...]
    """The commonest reason first."""
    read_otherwise: int | None = None
    """Replies that the benchmark's own tool reads as another value; None where its reading is ours."""
    read_there_only: int | None = None
    """Of these, replies that have no value here."""
    judge: str = ""
    """The judge, where it is one of a panel."""


@dataclass(frozen=True, kw_only=True)
class AuditRecord(AuditedScore):
    """A cell's score by the live judge, audited, and by the reference alone."""

    cell: str
    judge: str
    """The live judge."""
    reference: str
    """The judge, or the file of verdicts, that audits."""
    price_usd: float | None
    """Of the reference's verdicts on this cell; None where no price is known."""


@dataclass(frozen=True)
class CorrectedScore:
    """A transferred score by one method, in the metric's unit, with its 95 % interval."""

    value: float
    low: float
    high: float
    held: int
    """Recorded models left out whose own score the method's interval holds."""


@dataclass(frozen=True, kw_only=True)
class TransferRecord:
    """A cell's score corrected by a reference's verdicts on other models' answers (`harness.stats.transfer`)."""

    cell: str
    benchmark: str
    metric: str
    judge: str
    reference: str
    """Whose recorded verdicts they are."""
    live: float
    """The judge's own score."""
    models: tuple[str, ...]
    """The recorded models that were left out in turn; empty where only one is recorded."""
    scores: Mapping[str, CorrectedScore]
    """By method."""


@dataclass(frozen=True)
class RefusedRow:
    """The first row of the data that was left out of a training for its reason."""

    id: str
    reason: str
    row: int


@dataclass(frozen=True)
class PartCounts:
    """One domain's part of the data of a training step."""

    response_tokens: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What one training step of a cell used. What a step does not count, as a command's, is None."""

    cell: str
    step: str
    """Its number and name: `2 dae`."""
    candidates: tuple[Mapping[str, float], ...] = ()
    """Among what `select:` chose: the settings of each training, and its `held_out_loss`."""
    chosen: Mapping[str, float] | None = None
    """What `select:` chose, e.g. learning_rate."""
    domains: Mapping[str, PartCounts] | None = None
    held_out_loss: float | None = None
    """Nats per response token."""
    held_out_rows: int | None = None
    processes: int | None = None
    quantised_teachers: Mapping[str, str] | None = None
    """How each teacher with quantised weights is quantised (fp8, awq, gptq ...), by role."""
    refused: tuple[RefusedRow, ...] = ()
    response_tokens: int | None = None
    rows: int
    seconds: float | None = None
    """In the training loop."""
    skipped: int
    steps: int | None = None
    """Of the optimiser."""
    train_flops: float | None = None
    trained_rows: int | None = None
    truncated: int | None = None
    untaught_prompt: str | None = None
    """How the chat template ends a prompt, where no answer in training stands after that."""


@dataclass(frozen=True)
class MixRecord:
    """One domain's part of the data of one training step, with its shares (0 to 1) of examples and response tokens."""

    cell: str
    step: str
    domain: str
    """`general` is what belongs to no domain."""
    response_tokens: int
    rows: int
    share: float
    token_share: float


@dataclass(frozen=True)
class ContaminationRecord:
    """Benchmark prompts that one training dataset contains."""

    dataset: str
    benchmark: str
    n: int
    """Words of an n-gram."""
    prompts: int
    exact: int
    """Prompts that occur word for word."""
    ngram: int
    """Prompts with many of their n-grams in the data."""
    shared: int
    """Prompts with any of them."""
    examples: tuple[Overlap, ...]
    """The first that count as exact or ngram."""
    cells: tuple[str, ...]
    """Who learned from the dataset."""


@dataclass(frozen=True)
class CostRecord:
    """What the stages that one cell stands on took; a stage that cells share counts for each."""

    cell: str
    seconds: Mapping[str, float]
    """By kind of stage."""
    judge_calls: int
    judge_tokens: int
    price_usd: float | None
    """None where no call's price is known."""


@dataclass(frozen=True)
class StageCounts:
    """How many stages the cells asked for, how many that were once shared, and how many the last command ran."""

    asked: int
    unique: int
    executed: int
    seconds: float
    """What all of them took, whichever run did them."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run was and did."""

    name: str
    description: str
    created: str
    """ISO 8601, in UTC."""
    command: str
    versions: Mapping[str, str]
    hardware: Mapping[str, Json]
    git: Mapping[str, Json]
    axes: Mapping[str, tuple[str, ...]]
    """Axis -> its labels, as the recipe has them."""
    cells: tuple[CellRecord, ...]
    stages: StageCounts
    generation: tuple[Mapping[str, Json], ...]
    """A row per way to generate (`plan.generation.engines`)."""
    judges: tuple[JudgeRecord, ...]
    judging: tuple[JudgingRecord, ...]
    metrics: tuple[MetricRecord, ...]
    training: tuple[TrainingRecord, ...]
    mixes: tuple[MixRecord, ...]
    contamination: tuple[ContaminationRecord, ...]
    costs: tuple[CostRecord, ...]
    not_repeatable: tuple[str, ...]
    """What another run of the recipe may not give again."""
    warnings: tuple[str, ...]
    audits: tuple[AuditRecord, ...] = ()
    transfers: tuple[TransferRecord, ...] = ()
    same_family: tuple[SameFamilyRecord, ...] = ()


def write_run(path: Path, record: RunRecord) -> None:
    """Write run.json. A field that has a default is written only where it says something else."""
    write_atomically(path, as_text(as_json(record)))


def read_run(path: Path) -> RunRecord:
    """Read run.json; keys that this version does not know are left out.

    Raises:
        HarnessError: there is none, or it does not fit; names the file and the key.
    """
    if not path.exists():
        raise HarnessError("not a run folder: it has no run.json", where=str(path.parent), fix=AGAIN)
    return typed(RunRecord, read_json(path, AGAIN), str(path))


def typed(kind: type[T], value: Json, where: str) -> T:
    """A value from a run folder's JSON file as `kind`; HarnessError says which key of `where` does not fit."""
    try:
        # As JSON, where a list may stand for a tuple of strict settings.
        return TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        missing = [_key(e["loc"]) for e in error.errors() if e["type"] == "missing"][:_NAMED]
        first = error.errors()[0]
        fault = f"has no {', '.join(missing)}" if missing else f"does not fit ({_key(first['loc'])}: {first['msg']})"
        raise HarnessError(fault, where=where, fix=AGAIN) from None


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the whole of it"


def as_json(record: object) -> Any:
    """A record as JSON holds it, fields at their default left out."""
    return TypeAdapter(type(record)).dump_python(record, mode="json", exclude_defaults=True)


def as_text(value: Json) -> str:
    """A value as the folder's JSON files hold it."""
    text = io.StringIO()  # a plan of 10,000 cells is millions of pieces, which json.dumps holds until it joins them
    json.dump(value, text, indent=1, ensure_ascii=False)
    return text.getvalue() + "\n"
