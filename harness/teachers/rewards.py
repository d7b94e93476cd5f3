"""Rewards of responses: by a reward model, by the pocket world's program, or as recorded in a file.

A response that cannot be valued (blank, too long for the model, not in the file) has the reward None, never a number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from harness.core.errors import HarnessError
from harness.data.files import read_rows
from harness.data.pocket import Item, check, named
from harness.models.batching import padded
from harness.models.chat import encode
from harness.models.load import Dtype, available, check_finite, load_reward_model, load_tokenizer
from harness.models.rendering import Refused
from harness.teachers.responses import answered
from harness.teachers.settings import RecordedReward, RewardSettings

Conversation = Mapping[str, Any]
"""{id, messages}"""


def model_rewards(
    folder: Path, conversations: Sequence[Conversation], settings: RewardSettings, progress: Callable[..., None]
) -> list[float | None]:
    """The single logit of a sequence-classification model for each conversation, written by the model's chat template.

    None for a conversation with a blank answer, that the template refuses, or of more than `max_length` tokens, because
    half a response must not be valued as the whole. Raises HarnessError for a folder without such a model, a model that
    lacks its head, or a model that needs remote code.
    """
    tokenizer = load_tokenizer(folder)
    model = load_reward_model(folder, cast(Dtype, settings.dtype), available())
    check_finite(model, str(folder))
    config: Any = model.config.get_text_config()
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    max_length = min(settings.max_length, getattr(config, "max_position_embeddings", None) or settings.max_length)
    rewards: list[float | None] = [None] * len(conversations)
    rows: list[tuple[int, list[int]]] = []
    for index, conversation in enumerate(conversations):
        if answered(conversation["messages"]):
            try:
                encoded = encode(tokenizer, conversation["messages"], max_length)
            except Refused:
                continue
            if not encoded.truncated:
                rows.append((index, encoded.input_ids))
    rows.sort(key=lambda row: -len(row[1]))
    for start in range(0, len(rows), settings.batch_size):
        batch = rows[start : start + settings.batch_size]
        for (index, _), reward in zip(batch, _logits(model, [ids for _, ids in batch]), strict=True):
            rewards[index] = reward
        progress(start + len(batch), len(rows), "responses")
    return rewards


def _logits(model: Any, rows: Sequence[Sequence[int]]) -> list[float]:
    """A logit per row, which the model takes at the last token that is not padding."""
    import torch

    ids, mask = padded(rows, model.config.get_text_config().pad_token_id)
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
    values: list[float] = logits[:, 0].float().tolist()
    if not all(map(math.isfinite, values)):
        raise HarnessError("rewards are not finite", where=str(model.name_or_path), fix="Try `dtype: float32`.")
    return values


def program_rewards(conversations: Sequence[Conversation]) -> list[float | None]:
    """The share of right turns, 0 to 1, of answers to training conversations of the pocket world.

    The conversation's id determines the right answers. Raises HarnessError for a conversation of another world.
    """
    names = [str(c["id"]).partition("#")[0] for c in conversations]  # A candidate's id is the prompt's and a number.
    items = named(names)
    return [_share_right(c, items.get(name)) for name, c in zip(names, conversations, strict=True)]


def _share_right(conversation: Conversation, item: Item | None) -> float | None:
    messages = conversation["messages"]
    questions, answers = ([m["content"] for m in messages if m["role"] == role] for role in ("user", "assistant"))
    if item is None or questions != [turn.text for turn in item.turns][: len(questions)]:
        raise HarnessError(
            f"conversation {conversation['id']!r} is not of the pocket world, whose program is to value it",
            where="teachers.reward",
            fix="Use `program` with `pocket` data only; else name a reward `model`, `judge` or `recorded` rewards.",
        )
    if not answered(messages) or len(answers) != len(questions):
        return None
    scores = [check(turn.facts, answer)[0] for turn, answer in zip(item.turns, answers, strict=False)]
    return sum(scores) / len(scores)


def recorded_rewards(ids: Sequence[str], settings: RecordedReward) -> list[float | None]:
    """Each id's reward in a file; None if it has no row, or a row without a value.

    Column paths (`column`, `on` and the keys of `where`) reach into records: names and 0-based numbers joined by dots,
    and `name=value` for the first element of a list that has it, e.g. `responses.model=gemma-2-9b-it.rewards.armorm`.

    Raises:
        HarnessError: no such file or column, several rows for an id, a reward that is no number, no row for any id.
    """
    where = str(settings.path)
    rows = read_rows(settings.path)
    for path in (settings.column, settings.on, *settings.where):
        if all(reach(row, path) is None for row in rows):
            columns = ", ".join(dict.fromkeys(name for row in rows[:1000] for name in row))
            raise HarnessError(f"nothing at {path!r}", where=where, fix=f"Columns: {columns}.")
    rewards: dict[str, float | None] = {}
    for row in rows:
        if any(reach(row, path) != value for path, value in settings.where.items()):
            continue
        name = str(reach(row, settings.on))
        if name in rewards:
            raise HarnessError(
                f"several rewards for {settings.on} {name!r}", where=where, fix="Narrow the rows with `where`."
            )
        rewards[name] = _number(reach(row, settings.column), f"{where}, {settings.on} {name}")
    if ids and not rewards.keys() & set(ids):
        known = ", ".join(list(rewards)[:3]) or "none, no row matches `where`"
        raise HarnessError(
            f"no reward belongs to a response: the responses' ids are like {ids[0]!r}, the rewards' ids {known}",
            where=where,
            fix="Name the column of the prompts' ids with `on`.",
        )
    return [rewards.get(name) for name in ids]


def reach(record: Any, path: str) -> Any:
    """The value at a column path of a record; None if there is no such path. A name may itself hold dots."""
    if path == "":
        return record
    parts = path.split(".")
    for size in range(len(parts), 0, -1):
        step, rest = ".".join(parts[:size]), ".".join(parts[size:])
        value = _step(record, step)
        if value is not None:
            return reach(value, rest)
    return None


def _step(record: Any, step: str) -> Any:
    if isinstance(record, Mapping):
        return record.get(step)
    if not isinstance(record, list):
        return None
    if step.isdecimal():
        return record[int(step)] if int(step) < len(record) else None
    name, equals, value = step.partition("=")
    matching = (e for e in record if equals and isinstance(e, Mapping) and str(e.get(name)) == value)
    return next(matching, None)


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise HarnessError(f"a reward must be a number, not {value!r}", where=where)
    return float(value) if math.isfinite(value) else None
