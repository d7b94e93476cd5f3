"""Who judges, how it is asked, and what it may cost."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from harness.core.settings import Settings, execution
from harness.judge.protocol import VerdictMode

OPENAI_URL = "https://api.openai.com/v1"


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
