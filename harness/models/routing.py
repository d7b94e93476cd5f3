"""The routers of a mixture of experts: their logits, and the load that they give to each expert."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor


def routers(model: Any) -> list[Any]:
    """The routers of a Mixtral in the order of its layers; none for a dense model."""
    from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter

    return [module for module in model.modules() if isinstance(module, MixtralTopKRouter)]


@contextmanager
def router_logits(model: Any) -> "Iterator[list[Tensor]]":
    """A list that receives each layer's router logits (B x L, E), in order, from forward passes inside the context.

    They carry gradients if the pass does. Layers that a backward pass computes again outside add nothing.

    Raises:
        HarnessError: the model has no routers.
    """
    logits: list[Tensor] = []
    layers = routers(model)
    if not layers:
        raise HarnessError(
            f"a {type(model).__name__} has no experts",
            fix="Give the student an architecture, e.g. {experts: 2, per_token: 2}, or name a Mixtral.",
        )
    hooks = [router.register_forward_hook(lambda _, __, output: logits.append(output[0])) for router in layers]
    try:
        yield logits
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class Load:
    """How a model's routers spread tokens over experts."""

    tokens: int
    visits: "Tensor"
    """(L, E): tokens that visit each expert, by layer; a row adds up to tokens x experts per token."""
    mass: "Tensor"
    """(L, E): router probabilities summed over tokens; a row adds up to tokens."""

    def __add__(self, other: "Load") -> "Load":
        return Load(self.tokens + other.tokens, self.visits + other.visits, self.mass + other.mass)


def measure_load(model: Any, ids: list[int]) -> Load:
    """The load of a sequence of token ids; tensors are (L, E) in float64 on the CPU. Raises as `router_logits` does."""
    import torch

    with torch.inference_mode(), router_logits(model) as logits:
        model.base_model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
        probabilities = torch.stack([layer.float().to(model.device) for layer in logits]).softmax(
            dim=-1
        )  # (L, tokens, E)
        chosen = probabilities.topk(model.config.num_experts_per_tok, dim=-1).indices
        visits = torch.zeros_like(probabilities).scatter_(-1, chosen, 1.0).sum(dim=1)
        return Load(len(ids), visits.double().cpu(), probabilities.sum(dim=1).double().cpu())


def entropy(distribution: "Tensor") -> "Tensor":
    """Entropy in nats over the last axis: 0 where one expert gets all, ln E where E are equal. (..., E) -> (...)."""
    import torch

    return torch.special.entr(distribution).sum(dim=-1)
