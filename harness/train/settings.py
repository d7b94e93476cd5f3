"""How a student is trained: the settings that training steps share. Each step adds others in `train/steps`."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.core.settings import Settings, execution, later

Sharding = Literal["none", "fsdp"]
"""How several processes hold student and teachers: each whole, or each a share of them (torch's FSDP2)."""

Reporter = Literal["tensorboard", "wandb", "trackio", "mlflow"]
"""Reporters of transformers.Trainer, by its names."""

QUERIES = 128
"""Rows of an attention map (of all heads) that `train.attention` computes at once."""

TARGET_TOKENS = 2048
"""Tokens per forward pass of a teacher whose predictions are stored, padding included."""


def checkpoint_part(fraction: float) -> str:
    """The folder of a training's output that holds the model at that fraction of its steps."""
    return "model" if fraction == 1 else f"checkpoint-{fraction:g}"


@dataclass(frozen=True)
class HeldOut:
    """Examples that are not trained on: the loss on them is measured at the end."""

    share: float
    seed: int


class Processes(Settings):
    """How many processes a training runs in; each takes its share of the effective batch."""

    processes: int = execution(1, ge=1)
    sharding: Sharding = execution("none")
    offload_teachers: bool = execution(False)
    """Keep the shares of teachers in the CPU's memory, and bring them to the GPU layer by layer; on a CPU no change."""


class LoraSettings(Settings):
    """Low-rank adapters on every linear layer (arXiv 2106.09685), merged into the weights at the end.

    In a mixture of experts only the attention has linear layers: experts and routers stay as they are.
    """

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class OptimSettings(Settings):
    """The optimiser and its schedule, passed on to transformers.Trainer."""

    learning_rate: float = Field(2e-5, gt=0)
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    """Overrides `epochs`."""
    batch_size: int = Field(32, ge=1)
    """Conversations per optimiser step (the effective batch)."""
    micro_batch_size: int = Field(8, ge=1)
    """Conversations per forward pass at most; an effective batch is cut into groups of about equal length."""
    micro_batch_tokens: int | None = Field(None, ge=1)
    """Tokens per forward pass at most, padding included, in place of `micro_batch_size`: long answers in small groups,
    short answers in large groups."""
    max_length: int = Field(2048, ge=2)
    """Tokens; a longer conversation is cut, and skipped if no response token is left; both are counted."""
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 means autocast with float32 master weights."""
    save_every: int = execution(50, ge=1)
    """Steps between the checkpoints that a stopped run resumes from."""
    gradient_checkpointing: bool = execution(False)
    """Compute each layer again in the backward pass: less memory, about a third more time, the same result."""
    report_to: list[Reporter] = execution([])
    """Further places for the curve; TensorBoard's events are in the store's folder logs/tensorboard."""

    @property
    def micro_rows(self) -> int:
        """Conversations per forward pass at most; with `micro_batch_tokens` as many as the effective batch has."""
        return self.micro_batch_size if self.micro_batch_tokens is None else self.batch_size


class SelectSettings(Settings):
    """Settings chosen per cell by the loss on held-out examples of the step's data, never by a benchmark."""

    learning_rate: list[Annotated[float, Field(gt=0)]] = Field(min_length=2)
    """The values to train with; the model with the lowest held-out loss is kept, in a tie the first."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the step's examples that is held out of all these trainings."""


class StepData(Settings):
    """The conversations that a step trains on."""

    data: Literal["train", "domain", "teacher", "mix"] = "train"
    """A dataset of the recipe, the teacher's responses, or `train` mixed with the domains."""
    ratio: float | dict[str, float] = 0.0
    """For `data: mix`: the share of examples from the domain (several domains share it evenly), or from each."""
    examples: int | None = Field(None, ge=1)
    """For `data: mix`: the number of examples, the same for every ratio; by default as many as `data.train` holds."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        shares = [self.ratio] if isinstance(self.ratio, float) else list(self.ratio.values())
        if min(shares, default=0.0) < 0 or sum(shares) > 1:
            raise ValueError("the ratio of the domains lies between 0 and 1")
        if self.data != "mix" and (self.ratio != 0.0 or self.examples is not None):
            raise ValueError("'ratio' and 'examples' are of 'data: mix'")
        return self


class StepSettings(OptimSettings, StepData):
    """A training step of a recipe."""

    lora: LoraSettings | None = None
    router_loss: float = Field(0.0, ge=0)
    """Weight of the load-balancing loss (arXiv 2101.03961, equations 4 to 6) of a student with experts."""
    select: SelectSettings | None = None
    average: list[Annotated[float, Field(gt=0, le=1)]] | None = later(None, min_length=2)
    """Fractions of the step's training: the model that the step makes is the mean of its models there. What `select`
    compares are the models at the end."""

    @field_validator("average")
    @classmethod
    def _in_order(cls, fractions: list[float] | None) -> list[float] | None:
        if fractions is not None and sorted(set(fractions)) != fractions:
            raise ValueError("the fractions of the training are given in ascending order, each once")
        return fractions


class TargetSettings(StepSettings):
    """A step that learns from teachers' logits."""

    targets: Literal["live", "cached"] = "live"
    """Run the teachers beside the student, or store their `top_k` predictions once for all cells."""
    top_k: int = Field(64, ge=1)
    """For `targets: cached`: how many of the likeliest tokens are stored at each position; others share the rest."""
    temperature: float = Field(1.0, gt=0)
    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    """forward_kl is the paper's KL(teacher || student); jsd is the generalised Jensen-Shannon divergence."""
    beta: float = Field(0.5, gt=0, lt=1)
    """Weight of the teacher in jsd's mixture (arXiv 2306.13649, section 3)."""
    lambda_: float = Field(1.0, ge=0, le=1, alias="lambda")
    """Weight of the distillation term; 1 (the paper's default) leaves no cross-entropy."""
