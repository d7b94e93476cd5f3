"""What training computes, by the usual count: two operations per weight and token forward, four more backward."""

from typing import TYPE_CHECKING, Any

import torch

from harness.train.api import Batch, Loss, Objective, Teacher

if TYPE_CHECKING:
    from harness.models.logprobs import Target


class Meter:
    """Counts the floating-point operations of the objectives and teachers that were put through it.

    Weights are those that a token meets: of a mixture's experts the ones it is routed to, and no input embedding unless
    it is the output matrix too. Attention's products of positions are left out; computing layers again is not counted.
    """

    def __init__(self) -> None:
        self._spent = 0.0

    def read(self) -> float:
        """The operations since the last reading."""
        spent, self._spent = self._spent, 0.0
        return spent

    def student(self, objective: Objective, student: Any) -> Objective:
        """The objective, counted: forward, backward through all weights, gradients of the trainable ones."""
        each = 4 * active_weights(student) + 2 * active_weights(student, trainable=True)

        def counted(model: Any, batch: Batch) -> Loss:
            if torch.is_grad_enabled():
                self._spent += each * int(batch["attention_mask"].sum())
            return objective(model, batch)

        return counted

    def teacher(self, teacher: Teacher) -> Teacher:
        """The teacher, counted: forward only."""
        each = 2 * active_weights(teacher.model)

        def counted(batch: Batch) -> "Target":
            self._spent += each * int(batch["attention_mask"].sum())
            return teacher.target(batch)

        return Teacher(counted, teacher.model)


def active_weights(model: Any, *, trainable: bool = False) -> float:
    """The weights that one token meets, as `Meter` counts them; of these the trainable ones only."""
    config = model.config.get_text_config()
    experts = getattr(config, "num_local_experts", None)
    share = config.num_experts_per_tok / experts if experts else 1.0
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    embedding = None if tied else model.get_input_embeddings().weight
    counted = [(n, w) for n, w in model.named_parameters() if w is not embedding and (w.requires_grad or not trainable)]
    return float(sum(w.numel() * (share if ".experts." in name else 1.0) for name, w in counted))
