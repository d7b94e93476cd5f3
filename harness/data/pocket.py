"""The pocket world: instruction data and held-out items of any size, made by a program from a seed.

It has a general part (copy, order, count, arithmetic, compare) and a domain part, a shop's catalogue (extraction,
price, category). Every item has two turns and right answers that `check` knows. A hash of its first question decides
whether an item is in the held-out tenth: training never takes these items, evaluation takes no others. Training data
are nested: the first n examples of a seed are the same whatever the size, and its general examples whatever the
domain's share.
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
"""Each of the eight categories, and its part."""
_NAME = re.compile(r"(general|domain)-(-?\d+)-(\d+)")
"""A training conversation's id: part, seed, number within the part."""
_HELD_OUT = 10
"""One item in this many is held out for evaluation."""


@dataclass(frozen=True)
class Item:
    """A two-turn item of the world."""

    category: str
    turns: tuple[Turn, Turn]


def held_out(item: Item) -> bool:
    """Whether an item is held out for evaluation, decided by a hash of its first question, equally in every seed."""
    return derive_seed("pocket item", item.turns[0].text) % _HELD_OUT == 0


def items(part: Part, split: Literal["train", "eval"], *seed: Json, category: str | None = None) -> Iterator[Item]:
    """Endless items of a part and split, of a category or evenly of all categories, drawn by the seed."""
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
    """`number` different held-out items, from the eight categories in turn.

    Raises HarnessError if the world has fewer.
    """
    shares = {name: len(range(start, number, len(CATEGORIES))) for start, name in enumerate(CATEGORIES)}
    columns = [_different(name, share, seed) for name, share in shares.items()]
    return [column[row] for row in range(max(shares.values())) for column in columns if row < len(column)]


def _different(category: str, number: int, seed: Json) -> list[Item]:
    different: dict[str, Item] = {}
    stream = items(CATEGORIES[category], "eval", seed, category=category)
    for item in islice(stream, 50 * number):
        different.setdefault("\n".join(turn.text for turn in item.turns), item)
        if len(different) == number:
            return list(different.values())
    raise HarnessError(
        f"the pocket world has fewer than {number} held-out {category} items",
        fix=f"Ask for fewer than {len(different) * len(CATEGORIES)} questions.",
    )


def conversations(settings: PocketData) -> list[dict[str, Json]]:
    """Training conversations `{id, messages}`, with the domain's conversations spread evenly among them."""
    streams = {part: items(part, "train", settings.seed) for part in _TASKS}
    numbers = dict.fromkeys(_TASKS, 0)
    rows: list[dict[str, Json]] = []
    for index in range(settings.examples):
        part: Part = "domain" if _domain_before(index + 1, settings) > _domain_before(index, settings) else "general"
        name = f"{part}-{settings.seed}-{numbers[part]}"
        numbers[part] += 1
        rows.append({"id": name, "messages": _messages(next(streams[part]), name, settings)})
    return rows


def named(names: Iterable[str]) -> dict[str, Item]:
    """The items of training conversations, by the conversations' ids; ids of another form are left out."""
    numbers_of: dict[tuple[Part, int], set[int]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            part: Part = "domain" if match[1] == "domain" else "general"
            numbers_of.setdefault((part, int(match[2])), set()).add(int(match[3]))
    return {
        f"{part}-{seed}-{number}": item
        for (part, seed), numbers in numbers_of.items()
        for number, item in enumerate(islice(items(part, "train", seed), max(numbers) + 1))
        if number in numbers
    }


def _domain_before(index: int, settings: PocketData) -> int:
    """How many of the first `index` examples are the domain's; the addend keeps 0.29 * 100 from being 28."""
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
