"""A dataset as the tokens of a tokenizer and chat template, made once for every training and pass that reads them."""

from dataclasses import asdict

from harness.core.lines import write_json
from harness.stages import average, select, train, upcycle
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel


def stage(tokenizer: Stage, part: str, data: Stage, max_length: int) -> Stage:
    """The stage that encodes `data`, at most `max_length` tokens a conversation, with the tokenizer in `part` of what a
    stage puts out (`tokenizer_of`)."""
    params = {"max_length": max_length, "part": part}
    inputs = {"tokenizer": tokenizer, "data": data}
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
    elif made.kind == average.KIND.name:
        start = average.trained_of(made)
    elif made.kind == upcycle.KIND.name:
        start = upcycle.base_of(made)
    else:
        return model
    return tokenizer_of(start)


PROFILE = "profile.json"
"""The file of an artifact that says what the dataset holds (`data.profile.Profile`)."""


def _run(ctx: Context) -> None:
    from harness.models.load import load_tokenizer
    from harness.train.profile import profile
    from harness.train.tokens import write_tokens

    tokenizer = load_tokenizer(ctx.inputs["tokenizer"] / ctx.params["part"])
    conversations = ctx.inputs["data"] / "conversations.jsonl"
    write_tokens(conversations, tokenizer, ctx.params["max_length"], ctx.out, ctx.progress)
    made = profile(conversations, ctx.out, tokenizer, ctx.work)
    write_json(ctx.out / PROFILE, asdict(made), ensure_ascii=False)


KIND = Kind("encode", 2, _run, bulk=("*.bin",))
