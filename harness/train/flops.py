"""Training's floating-point operations, by the usual count: 2 per weight and token forward, 4 more backward."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from harness.train.api import Batch, Loss, Objective, Teacher

if TYPE_CHECKING:
    from harness.models.logprobs import Target


class Meter:
    """Counts the floating-point operations of the objectives and teachers that it wraps.

    The weights that count are those that a token meets: of a mixture's experts those that it is routed to, and the
    input embedding only where it is the output matrix too. Neither attention's products of positions nor layers that
    are computed again (gradient checkpointing) count.
    """

    def __init__(self) -> None:
        self._spent = 0.0

    def read(self) -> float:
        """The operations since the last reading."""
        spent, self._spent = self._spent, 0.0
        return spent

    def student(self, objective: Objective, student: Any) -> Objective:
        """The objective, counted: forward, backward through all weights, gradients of the trainable ones."""
        per_token = 4 * active_weights(student) + 2 * active_weights(student, trainable=True)

        def counted(model: Any, batch: Batch) -> Loss:
            if torch.is_grad_enabled():
                self._spent += per_token * int(batch["attention_mask"].sum())
            return objective(model, batch)

        return counted

    def sampling(self, student: Any) -> Callable[[int], None]:
        """A function to be told of tokens, prompts included, that the student read as it sampled: forward only."""
        per_token = 2 * active_weights(student)

        def spent(tokens: int) -> None:
            self._spent += per_token * tokens

        return spent

    def teacher(self, teacher: Teacher) -> Teacher:
        """The teacher, counted: forward only."""
        per_token = 2 * active_weights(teacher.model)

        def counted(batch: Batch) -> "Target":
            self._spent += per_token * int(batch["attention_mask"].sum())
            return teacher.target(batch)

        return replace(teacher, target=counted)


def active_weights(model: Any, *, trainable: bool = False) -> float:
    """How many weights a token meets, as `Meter` counts them; with `trainable` those of them that are trained."""
    config = model.config.get_text_config()
    experts = getattr(config, "num_local_experts", None)
    share = config.num_experts_per_tok / experts if experts else 1.0
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    embedding = None if tied else model.get_input_embeddings().weight
    counted = [(n, w) for n, w in model.named_parameters() if w is not embedding and (w.requires_grad or not trainable)]
    return float(sum(w.numel() * (share if ".experts." in name else 1.0) for name, w in counted))
