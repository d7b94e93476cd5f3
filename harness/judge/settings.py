"""Who judges, how it is asked, and what it may cost."""

import math
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from harness.core.settings import Settings, execution
from harness.judge.protocol import VerdictMode

OPENAI_URL = "https://api.openai.com/v1"
_SHARE = 0.2
"""Of the questions that an audit asks about."""


class ServeSettings(Settings):
    """Serve the judge ourselves: vLLM's OpenAI-compatible server for a model reference, on loopback."""

    dtype: Literal["auto", "float32", "bfloat16"] = "bfloat16"
    max_length: int = Field(8192, ge=128)
    """Context of the server, in tokens."""
    kv_cache_gb: int = execution(2, ge=1)
    startup_timeout_s: float = execution(600.0, gt=0)


class JudgeSettings(Settings):
    """A model judge behind an OpenAI-compatible endpoint."""

    model: str
    """The model to ask for; with `serve`, a model reference (pypi:..., path:..., hf:...)."""
    base_url: str | None = None
    """The endpoint; OpenAI's own by default. Identity, since the same name may be another model elsewhere."""
    serve: ServeSettings | None = None
    protocol: VerdictMode = "text"
    """text: the judge writes freely and its reply is parsed, as the benchmark's own tools do. choice: its reply is
    constrained to the possible verdicts. expected: the mean of them under the judge's own probabilities."""
    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(2048, ge=1)
    """The longest reply, thoughts included; one that ends there was cut, and is no verdict."""
    repeats: int = Field(1, ge=1)
    """How many verdicts on each answer. Raising it asks only for the further ones."""
    epoch: int = Field(0, ge=0)
    """Raised by --rejudge: asks again although verdicts are recorded."""
    profile: str | None = execution(None)
    """What the server takes: a row of `harness/judge/profiles.csv`; by default the first that fits the model's name.
    What it changes of a request is identity, its name is not."""
    api_key_env: str = execution("OPENAI_API_KEY")
    """Environment variable that holds the key. The key itself appears nowhere."""
    batch: bool = execution(False)
    """Ask through the endpoint's Batch API: at OpenAI half the price, and the replies come within a day. A run that is
    stopped takes up its batches when it is run again."""
    concurrency: int = execution(8, ge=1)
    timeout_s: float = execution(120.0, gt=0)
    retries: int = execution(6, ge=0)
    max_cost_usd: float | None = execution(None, gt=0)
    """The most this judge may cost, what the ledger holds of it included."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        try:
            parts = urlsplit(url or OPENAI_URL)
            sound = (
                parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            )  # a port that is none raises
        except ValueError:
            sound = False
        if not sound:
            raise ValueError("'base_url' is an address such as http://127.0.0.1:8000/v1")
        return url

    @model_validator(mode="after")
    def _batched(self) -> Self:
        if self.batch and self.serve is not None:
            raise ValueError("a judge that is served here takes no batches: leave out 'batch' or 'serve'")
        return self


class DrawSettings(Settings):
    """How many questions an audit draws, and which."""

    share: float | None = Field(None, gt=0, le=1)
    """The share of the questions that the reference `judge` is asked about; 0.2 by default."""
    n: int | None = Field(None, ge=10)
    """Their number, in place of a share."""
    seed: int = 0
    """Of the draw: the same questions for all cells, stratified by category. A larger audit holds the smaller one."""

    def size(self, questions: int) -> int:
        """How many of so many questions are drawn."""
        if self.n is not None:
            return min(self.n, questions)
        return math.ceil((self.share or _SHARE) * questions)


class AuditSettings(DrawSettings):
    """Who checks a random share of what a judge rates, so that scores are what that reference would have said.

    A reference judge (`judge`) is asked about the answers to the questions that are drawn. Verdicts that are there
    already, of a judge (`recorded`) or of people (`human`), are a file as `harness judge label` writes it, or
    AlpacaEval's annotations.json: all that it holds on these answers count, and have to be a random share of them.
    """

    judge: JudgeSettings | None = None
    """The reference judge."""
    recorded: Path | None = None
    """A file of a reference judge's verdicts."""
    human: Path | None = None
    """A file of people's verdicts."""

    @property
    def draw(self) -> DrawSettings:
        """What of it determines the questions."""
        return DrawSettings(share=self.share, n=self.n, seed=self.seed)

    @property
    def file(self) -> Path | None:
        """The file of verdicts that are there already."""
        return self.recorded or self.human

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        given = [name for name in ("judge", "recorded", "human") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("an 'audit' needs one of 'judge', 'recorded' and 'human'")
        sized = [name for name in ("share", "n") if getattr(self, name) is not None]
        if len(sized) > 1:
            raise ValueError("'share' and 'n' say the same: give one of them")
        if sized and self.judge is None:
            raise ValueError(f"'{sized[0]}' is for a 'judge': of the file of '{given[0]}' all verdicts count")
        return self


class RecipeJudgeSettings(JudgeSettings):
    """A recipe's judge of benchmarks' answers, or a panel of judges; either may be audited by another."""

    model: str = ""
    """The model to ask for; with `serve`, a model reference (pypi:..., path:..., hf:...). Not beside a `panel`."""
    panel: tuple[JudgeSettings, ...] = ()
    """Several judges of the same answers, whose mean is the score; each has the keys of a judge. Reports show each
    judge's own scores, how far the judges agree, and the ranks without each."""
    audit: AuditSettings | None = None

    @model_validator(mode="after")
    def _judge_or_panel(self) -> Self:
        if not self.panel:
            if not self.model:
                raise ValueError("a 'judge' needs a 'model', or a 'panel' of judges")
            return self
        if beside := sorted(self.model_fields_set - {"panel", "audit"}):
            raise ValueError(f"'{beside[0]}' stands beside 'panel': give it to the panel's judges")
        if len(self.panel) < 2:
            raise ValueError("a 'panel' has two or more judges")
        if len(set(self.names)) < len(self.panel):
            raise ValueError("a panel's judges are told apart by the names of their models, and two have the same")
        return self

    @cached_property
    def judges(self) -> tuple[JudgeSettings, ...]:
        """The judge, or those of the panel."""
        fields = {name: getattr(self, name) for name in JudgeSettings.model_fields}
        return self.panel or (JudgeSettings.model_construct(**fields),)

    @property
    def names(self) -> tuple[str, ...]:
        """What the panel's judges are called in metrics: their models' names."""
        return tuple(judge.model for judge in self.panel)

    @property
    def asked(self) -> dict[tuple[str | int, ...], JudgeSettings]:
        """The models that are asked, by their key in a recipe: the judge or the panel's, and the auditing one."""
        asked: dict[tuple[str | int, ...], JudgeSettings] = {
            ("judge", "panel", k) if self.panel else ("judge",): judge for k, judge in enumerate(self.judges)
        }
        audits = self.audit.judge if self.audit is not None else None
        return asked | ({("judge", "audit", "judge"): audits} if audits is not None else {})
