"""The load-balancing loss of a student with experts, beside whatever else it minimises."""

from typing import Any

from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from harness.core.errors import HarnessError
from harness.models.routing import entropy, router_logits, routers
from harness.train.api import Batch, Loss, Objective
from harness.train.losses import IGNORED


def balanced(objective: Objective, weight: float, student: Any) -> Objective:
    """`objective` + `weight` x the load-balancing loss of the Switch Transformer (arXiv 2101.03961, equations 4 to 6).

    That loss is E x sum over experts of (share of tokens that visit it) x (its mean probability), over the tokens that
    are no padding, all layers together, as transformers computes it: between k (even load) and E, for k of E experts
    per token. Where k is E it is constant. It is multiplied by the batch's response tokens, by which the trainer
    divides again.

    Adds the parts `router_loss` (the loss, unweighted) and `router_entropy` (of a batch's mean router distribution, in
    nats, averaged over layers). With weight 0 this is `objective` itself.

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
        with router_logits(model) as found:
            own = objective(model, batch)
        assert len(found) == layers, "an objective runs its student once"
        responses = int((batch["labels"] != IGNORED).sum())
        if not responses:
            return own
        logits = tuple(one.float() for one in found)
        real = batch["attention_mask"].flatten().bool()
        balance = load_balancing_loss_func(logits, experts, per_token, real)
        spread = sum(float(entropy(one.detach()[real].softmax(dim=-1).mean(dim=0))) for one in logits) / layers
        tokens = int(real.sum())
        parts = {
            "router_loss": (float(balance.detach()) * responses, float(responses)),
            "router_entropy": (spread * tokens, float(tokens)),
        }
        return Loss(own.total + weight * responses * balance, {**own.parts, **parts})

    return loss
