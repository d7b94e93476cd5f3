"""Models as a recipe names them."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from harness.core.settings import Settings, execution


class MoESettings(Settings):
    """A dense model made into a mixture of experts: each layer's MLP becomes several, with a router before them."""

    experts: int = Field(2, ge=2, le=64)
    per_token: int = Field(2, ge=1)
    """Experts that each token visits. If a token visits all, the load is even by construction, and `router_loss` of a
    training step changes nothing."""
    from_: list[str] | None = Field(None, alias="from")
    """References of the models whose MLPs become the experts; copies of `model` by default. Attention, norms and
    embeddings are those of `model`."""
    router: Literal["zero", "random", "hidden"] = "random"
    """How routers start: all zero (copies that every token visits then stay copies); drawn from a normal distribution;
    or with each expert's row the direction of the mean hidden state over its `prompts` (mergekit's `hidden`)."""
    router_scale: float = Field(0.02, gt=0)
    """Standard deviation of a random router's weights."""
    router_seed: int = Field(0, ge=0)
    prompts: list[str] = Field(default_factory=list)
    """For `hidden`: a dataset of the recipe's `data` for each expert, e.g. [train, domain]."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.per_token > self.experts:
            raise ValueError(f"per_token {self.per_token} is more than experts {self.experts}")
        if self.from_ is not None and len(self.from_) != self.experts:
            raise ValueError(f"'from' has {len(self.from_)} models for {self.experts} experts")
        if self.router == "hidden" and len(self.prompts) != self.experts:
            what = f"a dataset for each of {self.experts} experts, not {len(self.prompts)}"
            raise ValueError(f"a hidden router needs 'prompts': {what}")
        if self.router != "hidden" and self.prompts:
            raise ValueError(f"a {self.router} router has no prompts; write 'router: hidden'")
        return self


def _dense(value: Any) -> Any:
    if isinstance(value, str) and value != "dense":
        raise ValueError(f"expected dense or a mapping with experts and per_token, not '{value}'")
    return None if value == "dense" else value


class ModelSettings(Settings):
    """A model by reference.

    One of pypi:PACKAGE, gguf:FILE, path:DIR, hf:ORG/NAME[@REV], artifact:NAME, artifact:RUN/CELL,
    pocket:SPEC, endpoint:NAME.
    """

    model: str
    chat_template: str | None = None
    """A file with a Jinja chat template, for a model without a template (or with a wrong template)."""
    template_date: date | None = None
    """The date that the chat template writes in place of today's, 2024-07-26 by default. Another date makes every
    prompt another prompt."""
    optional: bool = execution(False)
    """For a student: if it cannot be loaded (a gated or absent repository), its cells are left out, with a message."""
    architecture: Annotated[MoESettings | None, BeforeValidator(_dense)] = None
    """`dense` (the default) leaves the model as it is; a mapping makes a mixture of experts of it."""
