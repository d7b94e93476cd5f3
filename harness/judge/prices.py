"""The price of a judge call: list prices by model name, dated in `prices.csv`."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from harness.core.canonical import Json
from harness.judge.protocol import Protocol
from harness.judge.settings import JudgeSettings

_TOKENS_PER_MESSAGE = 16
"""For a message's role and borders; more than any chat template we know adds."""


@dataclass(frozen=True)
class Price:
    """USD per million tokens, at list price."""

    input: float
    output: float
    as_of: str
    """Year and month of the list."""
    source: str = ""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD of one call."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@cache
def price_list() -> Mapping[str, Price]:
    """Prices by model name."""
    with files("harness.judge").joinpath("prices.csv").open(encoding="utf-8") as file:
        return {
            row["model"]: Price(
                float(row["input_usd_per_million"]), float(row["output_usd_per_million"]), row["as_of"], row["source"]
            )
            for row in csv.DictReader(file)
        }


def price_of(settings: JudgeSettings) -> Price | None:
    """The judge's price; 0 for a judge that we serve ourselves, None where the list has no such model."""
    return Price(0.0, 0.0, "") if settings.serve else price_list().get(settings.model)


def longest_reply(settings: JudgeSettings, protocol: Protocol) -> int:
    """Tokens that one reply may have."""
    return min(protocol.most_tokens or settings.max_tokens, settings.max_tokens)


def most_tokens(messages: Iterable[Mapping[str, Json]]) -> int:
    """More tokens than any tokenizer makes of a prompt: a token for each byte, and some for each message."""
    return sum(len(str(message["content"]).encode()) + _TOKENS_PER_MESSAGE for message in messages)


def most_cost(
    price: Price, settings: JudgeSettings, protocol: Protocol, messages: Sequence[Mapping[str, Json]]
) -> float:
    """USD that one verdict can cost at most, all its calls together."""
    calls = 1 + len(protocol.continuations)
    begun = most_tokens({"content": text} for text in (protocol.prefix, *protocol.continuations))
    return calls * price.cost(most_tokens(messages) + begun, longest_reply(settings, protocol))
