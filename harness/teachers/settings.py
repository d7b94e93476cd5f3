"""Which teacher scores are wanted, and what they are made from."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from harness.core.settings import Settings, execution
from harness.train.settings import OptimSettings


class RecordedReward(Settings):
    """Rewards in a file (JSON, JSONL, Parquet or CSV): one row per prompt, or per prompt and teacher."""

    path: Path = execution()
    """The content is pinned, not the path."""
    column: str
    """The reward's column. `conversations.0.reward` reaches into a record."""
    on: str = "id"
    """The column that holds the prompt's id, as the responses name it."""
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Only rows whose columns have these values, e.g. {model: gpt4_1106_preview}."""


class TrainedReward(Settings):
    """A small Bradley-Terry reward model, trained by this recipe on preference pairs."""

    base: str
    """Model reference to start from: any causal language model."""
    pairs: Path = execution()
    """JSONL, {id, prompt or messages, chosen, rejected} a line; the content is pinned, not the path."""
    training: OptimSettings = OptimSettings()
    """`epochs`, `batch_size` and the like count pairs."""
    seed: int = 0


class RewardSettings(Settings):
    """What values a teacher's response: exactly one of these."""

    model: str | None = None
    """A sequence-classification reward model by reference (hf:, path:, artifact:), its one logit per response."""
    trained: TrainedReward | None = None
    judge: bool = False
    """The recipe's judge rates each response 1 to 10 (the prompt is in `teachers/judged.py`)."""
    program: bool = False
    """The pocket world's program: the share of right turns, 0 to 1."""
    recorded: RecordedReward | None = None
    strength: bool = False
    """The teacher's own `about.strength`, e.g. a published win rate, for each of its responses."""
    dtype: str = "float32"
    """Of the reward model: float32 or bfloat16."""
    max_length: int = Field(4096, ge=2)
    """Of the reward model's input, in tokens."""
    batch_size: int = execution(8, ge=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        sources = ("model", "trained", "judge", "program", "recorded", "strength")
        if sum(getattr(self, name) not in (None, False) for name in sources) != 1:
            raise ValueError(f"a reward has exactly one of {', '.join(sources)}")
        return self


class CARSettings(Settings):
    """CAR = reward / (1 + beta loss), arXiv 2411.07133. The paper does not print beta: it is swept."""

    beta: float = Field(1.0, ge=0)
    """The one that the leaderboard shows."""
    sweep: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Those that are shown beside it."""
    shift: float | None = None
    """Added to every reward before the division. Needed where mean rewards are negative, which would turn CAR's sense
    round: without it they are refused."""


class PassSettings(Settings):
    """The forward pass of a student base over a teacher's responses."""

    max_length: int = Field(2048, ge=2)
    """Tokens of prompt and response; a longer response is scored up to there and counted as cut."""
    dtype: str = "float32"
    """float32 or bfloat16."""
    local_steps: int = Field(1, ge=0)
    """Local naturalness: how many earlier steps a step may see beside the prompt."""
    batch_tokens: int = execution(8192, ge=1)
    """Padded tokens per batch at most; a CPU takes fewer."""


class About(Settings):
    """What is known of a teacher beside its responses; what validation compares the scores with."""

    family: str = execution("")
    size_b: float | None = execution(None, gt=0)
    """Billions of parameters."""
    strength: float | None = execution(None)
    """Its own published benchmark score, higher is better."""
    cost_usd: float | None = execution(None, ge=0)
    """What its responses cost, where they were bought."""


class TeachersSettings(Settings):
    """The `teachers` section of a recipe. Teachers and student bases are called by the labels of the axes `teacher` and
    `student`, or by their model references where there is no such axis."""

    scores: tuple[str, ...] = ()
    """Names of teacher scores; by default every score whose needs are met."""
    reward: RewardSettings | None = None
    car: CARSettings = CARSettings()
    scoring: PassSettings = PassSettings()
    prompts: int | None = Field(None, ge=1)
    """Score only so many of each teacher's responses, the same prompts for all; all by default."""
    common: bool = execution(True)
    """Compare teachers on the prompts that all of them answered."""
    about: dict[str, About] = execution({})
    """By the teacher's name."""
    outcomes: tuple[str, ...] = execution(())
    """The `benchmark.metric` that validation holds the scores against; by default every headline metric."""
