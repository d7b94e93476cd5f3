"""The load-balancing loss of a student with experts, added to its step's loss."""

from typing import Any

from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from harness.core.errors import HarnessError
from harness.models.routing import entropy, router_logits, routers
from harness.train.api import Batch, Loss, Objective
from harness.train.losses import IGNORED


def balanced(objective: Objective, weight: float, student: Any) -> Objective:
    """`objective` + `weight` x the load-balancing loss of the Switch Transformer (arXiv 2101.03961, equations 4 to 6).

    The load-balancing loss is E x sum over experts of (share of tokens that visit it) x (its mean probability), over
    all layers and all tokens but padding, as transformers computes it. With k of E experts per token it lies between k
    (even load) and E. It is multiplied by the batch's response tokens, because the trainer divides by them.

    Adds the parts `router_loss` (the loss, unweighted) and `router_entropy` (of a batch's mean router distribution, in
    nats, averaged over layers). With weight 0 the result is `objective` itself.

    Raises:
        HarnessError: the student has no routers.
    """
    if weight == 0:
        return objective
    layers = len(routers(student))
    if not layers:
        raise HarnessError(
            f"router_loss is {weight:g} and the student, a {type(student).__name__}, has no experts",
            fix="Set router_loss to 0, or give the student `architecture: {experts: 2, per_token: 1}`.",
        )
    experts, per_token = student.config.num_local_experts, student.config.num_experts_per_tok

    def loss(model: Any, batch: Batch) -> Loss:
        with router_logits(model) as layer_logits:
            student_loss = objective(model, batch)
        assert len(layer_logits) == layers, "an objective runs its student once"
        responses = int((batch["labels"] != IGNORED).sum())
        if not responses:
            return student_loss
        logits = tuple(layer.float() for layer in layer_logits)
        real = batch["attention_mask"].flatten().bool()
        balance = load_balancing_loss_func(logits, experts, per_token, real)
        spread = sum(float(entropy(layer.detach()[real].softmax(dim=-1).mean(dim=0))) for layer in logits) / layers
        tokens = int(real.sum())
        parts = {
            "router_loss": (float(balance.detach()) * responses, float(responses)),
            "router_entropy": (spread * tokens, float(tokens)),
        }
        return Loss(student_loss.total + weight * responses * balance, {**student_loss.parts, **parts})

    return loss
