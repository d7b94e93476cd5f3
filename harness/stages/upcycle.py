"""A dense model, or several of one family, to a mixture of experts."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.data.conversations import read_conversations
from harness.models.settings import MoESettings
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel

if TYPE_CHECKING:
    from harness.models.moe import Router

_MODEL, _EXPERT, _PROMPTS = "model", "expert:", "prompts:"
_MOST_PROMPTS = 128
"""Of each dataset, for a hidden router: the first ones."""


def stage(
    model: PlannedModel, experts: Sequence[PlannedModel], settings: MoESettings, prompts: Sequence[Stage] = ()
) -> PlannedModel:
    """The stage that makes `model` a mixture of `experts` (none: of copies of itself).

    `prompts` are the datasets of a hidden router, one for each expert.
    """
    given = {_MODEL: model} | {f"{_EXPERT}{i}": expert for i, expert in enumerate(experts)}
    inputs = {name: weights.stage for name, weights in given.items()}
    inputs |= {f"{_PROMPTS}{i}": data for i, data in enumerate(prompts)}
    params: dict[str, Json] = {
        "experts": settings.experts,
        "per_token": settings.per_token,
        "router": settings.router,
        "parts": {name: weights.part for name, weights in given.items()},
    }
    if settings.router == "random":
        params |= {"scale": settings.router_scale, "seed": settings.router_seed}
    title = f"{settings.experts} experts of {model.name}"
    return PlannedModel(Stage(KIND.name, KIND.version, params, inputs, title=title), title)


def base_of(made: Stage) -> PlannedModel:
    """The model that a stage makes into a mixture, whose tokenizer the mixture has."""
    return PlannedModel(made.inputs[_MODEL], made.title, made.params["parts"][_MODEL])


def _run(ctx: Context) -> None:
    from harness.models.moe import upcycle

    folders = {name: ctx.inputs[name] / part for name, part in ctx.params["parts"].items()}
    base, count = folders[_MODEL], ctx.params["experts"]
    experts = [folders.get(f"{_EXPERT}{i}", base) for i in range(count)]
    upcycle(base, experts, ctx.out, per_token=ctx.params["per_token"], router=_router(ctx, base))


def _router(ctx: Context, base: Path) -> "Router":
    from harness.models.load import load_tokenizer
    from harness.models.moe import hidden_router, random_router, zero_router

    if ctx.params["router"] == "zero":
        return zero_router
    if ctx.params["router"] == "random":
        return random_router(ctx.params["scale"], ctx.params["seed"])
    tokenizer = load_tokenizer(base)
    folders = [ctx.inputs[f"{_PROMPTS}{i}"] for i in range(ctx.params["experts"])]
    return hidden_router([_prompts(folder / "conversations.jsonl", tokenizer) for folder in folders])


def _prompts(path: Path, tokenizer: Any) -> list[list[int]]:
    """The first prompts of a dataset, as token ids."""
    from harness.models.chat import encode_prompt
    from harness.models.rendering import Refused

    opened = [_opening(c.messages) for c in islice(read_conversations(path), _MOST_PROMPTS)]
    if not opened:
        raise HarnessError("there is no prompt to make a router from", where=str(path))
    prompts, refused = [], None
    for messages in opened:
        try:
            prompts.append(encode_prompt(tokenizer, messages))
        except Refused as error:
            refused = error
    if not prompts and refused:
        raise HarnessError(refused.what, where=str(path), fix=refused.fix)
    return prompts


def _opening(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """What comes before the first answer."""
    roles = [message["role"] for message in messages]
    return list(messages[: roles.index("assistant")]) if "assistant" in roles else list(messages)


KIND = Kind("upcycle", 2, _run, bulk=("*",))
