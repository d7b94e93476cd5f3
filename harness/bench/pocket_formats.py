"""Held-out items of the pocket world as multiple choice."""

from random import Random

from harness.core.canonical import Json
from harness.core.seeds import derive_seed
from harness.data.pocket import CATEGORIES, Item, items, questions

CHOICES = 4
"""Answers to choose from."""


def multiple_choice(number: int, seed: int) -> list[dict[str, Json]]:
    """Items {query, choices, gold, category}: the right answer among three of other items, at a seeded place."""
    return [_choice(item, seed, index) for index, item in enumerate(questions(number, seed))]


def _choice(item: Item, seed: int, index: int) -> dict[str, Json]:
    rng = Random(derive_seed("pocket choices", seed, index))
    answer = item.turns[0].answer
    choices = [answer]
    for other in items(CATEGORIES[item.category], "eval", "choices", seed, index, category=item.category):
        if other.turns[0].answer not in choices:
            choices.append(other.turns[0].answer)
        if len(choices) == CHOICES:
            break
    rng.shuffle(choices)
    return {
        "query": item.turns[0].text,
        "choices": choices,
        "gold": choices.index(answer),
        "category": item.category,
    }
