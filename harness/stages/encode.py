"""A dataset as the tokens of a tokenizer and chat template, made once for every training and pass that reads them."""

from harness.stages import select, train, upcycle
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel


def stage(model: PlannedModel, data: Stage, max_length: int) -> Stage:
    """The stage that encodes `data` for `model`, at most `max_length` tokens a conversation."""
    source = tokenizer_of(model)
    params = {"max_length": max_length, "part": source.part}
    inputs = {"tokenizer": source.stage, "data": data}
    return Stage(KIND.name, KIND.version, params, inputs, title=f"tokens of {data.title}")


def tokenizer_of(model: PlannedModel) -> PlannedModel:
    """The model whose tokenizer a model has: what its trainings, or its mixture of experts, started from.

    So all that start from one model share its tokens, whatever they are trained to.
    """
    made = model.stage
    if made.kind == train.KIND.name:
        start = train.student_of(made)
    elif made.kind == select.KIND.name:
        start = select.first_candidate(made)
    elif made.kind == upcycle.KIND.name:
        start = upcycle.base_of(made)
    else:
        return model
    return tokenizer_of(start)


def _run(ctx: Context) -> None:
    from harness.train.tokens import write_tokens

    tokenizer = ctx.inputs["tokenizer"] / ctx.params["part"]
    conversations = ctx.inputs["data"] / "conversations.jsonl"
    write_tokens(conversations, tokenizer, ctx.params["max_length"], ctx.out, ctx.progress)


KIND = Kind("encode", 1, _run, bulk=("*.bin",))
