"""The pocket world: instruction data and held-out items of any size, made by a program from a seed.

A general part (copy, order, count, arithmetic, compare) and a shop-catalogue domain part (extraction, price,
category). Every item has two turns and a right answer that `check` knows. Items whose first question hashes into the
held-out tenth are never trained on; evaluation takes only those. Training data is nested: the first n examples of a
seed are the same whatever the size, and the general ones the same whatever the domain's share.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.data import pocket_general, pocket_shop
from harness.data.pocket_truth import Turn, check, solve
from harness.data.settings import PocketData

__all__ = ["CATEGORIES", "Item", "Turn", "check", "conversations", "held_out", "items", "named", "questions", "solve"]

Part = Literal["general", "domain"]
Task = Callable[[Random], tuple[Turn, Turn]]
_TASKS: dict[Part, Mapping[str, Task]] = {"general": pocket_general.TASKS, "domain": pocket_shop.TASKS}
CATEGORIES: dict[str, Part] = {name: part for part, tasks in _TASKS.items() for name in tasks}
"""The eight categories and the part each belongs to."""
_NAME = re.compile(r"(general|domain)-(-?\d+)-(\d+)")
"""A training conversation's id: part, seed, number within the part."""
_HELD_OUT = 10
"""One item in so many is kept for evaluation."""


@dataclass(frozen=True)
class Item:
    """A two-turn item of the world."""

    category: str
    turns: tuple[Turn, Turn]


def held_out(item: Item) -> bool:
    """Whether an item belongs to evaluation: a hash of its first question decides, the same in every seed."""
    return derive_seed("pocket item", item.turns[0].text) % _HELD_OUT == 0


def items(part: Part, split: Literal["train", "eval"], *seed: Json, category: str | None = None) -> Iterator[Item]:
    """Endless items of one part and split, of one category or evenly of all; the seed decides which."""
    names = [category] if category else list(_TASKS[part])
    index = 0
    while True:
        rng = Random(derive_seed("pocket", part, split, category, *seed, index))
        name = names[index % len(names)]
        item = Item(name, _TASKS[part][name](rng))
        while held_out(item) != (split == "eval"):
            item = Item(name, _TASKS[part][name](rng))
        yield item
        index += 1


def questions(number: int, seed: Json) -> list[Item]:
    """`number` different held-out items in turn from the eight categories, the same share of each.

    Raises HarnessError when the world is too small for that many.
    """
    shares = {name: len(range(start, number, len(CATEGORIES))) for start, name in enumerate(CATEGORIES)}
    columns = [_different(name, share, seed) for name, share in shares.items()]
    return [column[row] for row in range(max(shares.values())) for column in columns if row < len(column)]


def _different(category: str, number: int, seed: Json) -> list[Item]:
    found: dict[str, Item] = {}
    stream = items(CATEGORIES[category], "eval", seed, category=category)
    for item in islice(stream, 50 * number):
        found.setdefault("\n".join(turn.text for turn in item.turns), item)
        if len(found) == number:
            return list(found.values())
    raise HarnessError(
        f"the pocket world has fewer than {number} held-out {category} items",
        fix=f"Ask for fewer than {len(found) * len(CATEGORIES)} questions.",
    )


def conversations(settings: PocketData) -> list[dict[str, Json]]:
    """Training conversations `{id, messages}`, the domain's share spread evenly over them."""
    streams = {part: items(part, "train", settings.seed) for part in _TASKS}
    numbers = dict.fromkeys(_TASKS, 0)
    made: list[dict[str, Json]] = []
    for index in range(settings.examples):
        part: Part = "domain" if _domain_before(index + 1, settings) > _domain_before(index, settings) else "general"
        name = f"{part}-{settings.seed}-{numbers[part]}"
        numbers[part] += 1
        made.append({"id": name, "messages": _messages(next(streams[part]), name, settings)})
    return made


def named(names: Iterable[str]) -> dict[str, Item]:
    """The items of training conversations, by the conversations' ids; ids that are none of ours are left out."""
    wanted: dict[tuple[Part, int], set[int]] = {}
    for name in names:
        if found := _NAME.fullmatch(name):
            part: Part = "domain" if found[1] == "domain" else "general"
            wanted.setdefault((part, int(found[2])), set()).add(int(found[3]))
    return {
        f"{part}-{seed}-{number}": item
        for (part, seed), numbers in wanted.items()
        for number, item in enumerate(islice(items(part, "train", seed), max(numbers) + 1))
        if number in numbers
    }


def _domain_before(index: int, settings: PocketData) -> int:
    """How many of the first `index` examples are of the domain; the addend keeps 0.29 * 100 from being 28."""
    return int(index * settings.domain_ratio + 1e-9)


def _messages(item: Item, name: str, settings: PocketData) -> list[dict[str, str]]:
    rng = Random(derive_seed("pocket turns", name))
    turns = item.turns if rng.random() < settings.two_turn_share else item.turns[:1]
    messages = []
    for index, turn in enumerate(turns):
        wrong = Random(derive_seed("pocket noise", name, index))
        answer = _wrong(item.category, index, turn, wrong) if wrong.random() < settings.noise else turn.answer
        messages += [{"role": "user", "content": turn.text}, {"role": "assistant", "content": answer}]
    return messages


def _wrong(category: str, index: int, turn: Turn, rng: Random) -> str:
    """Another item's answer to the same kind of question."""
    answer = turn.answer
    while answer == turn.answer:
        answer = _TASKS[CATEGORIES[category]][category](rng)[index].answer
    return answer
