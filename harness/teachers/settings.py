"""Which teacher scores to compute, and from what."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from harness.core.settings import Settings, execution
from harness.train.settings import OptimSettings


class RecordedReward(Settings):
    """Rewards in a file (JSON, JSONL, Parquet or CSV): a row per prompt, or per prompt and teacher."""

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
    """The source of a teacher's rewards: exactly one of these."""

    model: str | None = None
    """A sequence-classification reward model by reference (hf:, path:, artifact:): its single logit per response."""
    trained: TrainedReward | None = None
    judge: bool = False
    """The recipe's judge rates each response 1 to 10 (the prompt is in `teachers/judged.py`)."""
    program: bool = False
    """The pocket world's program: the share of right turns, 0 to 1."""
    recorded: RecordedReward | None = None
    strength: bool = False
    """The teacher's `about.strength`, e.g. a published win rate, for each of its responses."""
    dtype: str = "float32"
    """The reward model's: float32 or bfloat16."""
    max_length: int = Field(4096, ge=2)
    """The reward model's longest input, in tokens; a longer response has no reward."""
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
    """The beta of the leaderboard."""
    sweep: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Further betas that are shown beside the leaderboard."""
    shift: float | None = None
    """Added to every reward before the division. Set it if a mean reward is negative, which CAR refuses because its
    sense would turn round."""


class PassSettings(Settings):
    """The forward pass of a student base over a teacher's responses."""

    max_length: int = Field(2048, ge=2)
    """Tokens of prompt and response; a longer response is scored up to there and counted as cut."""
    dtype: str = "float32"
    """float32 or bfloat16."""
    local_steps: int = Field(1, ge=0)
    """Local naturalness: how many earlier steps a step may see beside the prompt."""
    batch_tokens: int = execution(8192, ge=1)
    """Tokens per batch at most, padding included; a CPU takes fewer."""


class About(Settings):
    """Facts of a teacher beside its responses: the baselines that validation compares scores with."""

    family: str = execution("")
    size_b: float | None = execution(None, gt=0)
    """Billions of parameters."""
    strength: float | None = execution(None)
    """Its published benchmark score, higher is better."""
    cost_usd: float | None = execution(None, ge=0)
    """The cost of its responses, if they were bought."""


class TeachersSettings(Settings):
    """The `teachers` section of a recipe. A teacher or student base is named by its label on the axis `teacher` or
    `student`, or without such an axis by its model reference."""

    scores: tuple[str, ...] = ()
    """Names of teacher scores; by default every score whose needs are met."""
    reward: RewardSettings | None = None
    car: CARSettings = CARSettings()
    scoring: PassSettings = PassSettings()
    prompts: int | None = Field(None, ge=1)
    """Score each teacher on this many prompts, the same for all teachers; by default on all prompts."""
    common: bool = execution(True)
    """Compare teachers on the prompts that all of them answered."""
    about: dict[str, About] = execution({})
    """Facts by the teacher's name."""
    outcomes: tuple[str, ...] = execution(())
    """The `benchmark.metric` that validation compares scores with; by default every headline metric."""
