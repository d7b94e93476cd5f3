"""How a student is trained: what all training steps share. Each adds its own in `train/steps`."""

from typing import Literal

from pydantic import Field

from harness.core.settings import Settings, execution


class OptimSettings(Settings):
    """The optimiser and its schedule, as they are passed on to transformers.Trainer."""

    learning_rate: float = Field(2e-5, gt=0)
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    """Overrides `epochs`."""
    batch_size: int = Field(32, ge=1)
    """Conversations per optimiser step (the effective batch)."""
    micro_batch_size: int = Field(8, ge=1)
    """Conversations per forward pass; batch_size must be a multiple of it."""
    max_length: int = Field(2048, ge=2)
    """Tokens; a longer conversation is cut, one whose response is cut away whole is skipped; both are counted."""
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 means autocast with float32 master weights."""
    save_every: int = execution(50, ge=1)
    """Steps between the checkpoints that a stopped run resumes from."""


class StepSettings(OptimSettings):
    """A training step of a recipe."""

    data: Literal["train", "domain", "teacher"] = "train"
    """Which conversations: a dataset of the recipe, or the teacher's responses."""
