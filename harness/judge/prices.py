"""The price of a judge call: list prices by endpoint and model, from the package `genai-prices`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from harness.core.canonical import Json
from harness.judge.identity import endpoint
from harness.judge.protocol import Protocol
from harness.judge.settings import JudgeSettings

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

PRICE_LIST = ("0.2.3", "2026-11")
"""The version of `genai-prices` that pyproject.toml pins, and the month of its release: what its prices are of."""
_OPEN = re.compile(r"gpt-oss|gemma|mi[sx]tral|deepseek|llama|qwen|phi")
"""Models whose weights anybody may serve, so that the maker's price says nothing about an address of somebody else."""
_TOKENS_PER_MESSAGE = 16
"""For a message's role and borders; more than any chat template we know adds."""


@dataclass(frozen=True)
class Price:
    """USD per million tokens, at list price."""

    input: float
    output: float
    as_of: str
    """Month and version of the list."""
    longer: "tuple[tuple[int, Price], ...]" = ()
    """(tokens, price) of calls with a prompt of more tokens, in ascending order."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD of one call."""
        rate = next((price for tokens, price in reversed(self.longer) if prompt_tokens > tokens), self)
        return (prompt_tokens * rate.input + completion_tokens * rate.output) / 1e6


def price_of(settings: JudgeSettings) -> Price | None:
    """The judge's price; 0 for a judge that we serve ourselves, None where the list has no such model.

    In batches it is the list's price of batches, and the usual one where the list knows none.
    At an address that the list does not know, such as a gateway's, a closed model has its maker's price.
    """
    if settings.serve:
        return Price(0.0, 0.0, "")
    return _listed(settings.model.lower(), endpoint(settings), settings.batch)


@cache
def _listed(model: str, url: str, batch: bool) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot  # a quarter of a second

    snapshot = get_snapshot()
    try:
        provider = snapshot.find_provider(None, None, url)
    except LookupError:
        provider = None
    if provider is None and _OPEN.search(model):
        return None
    try:
        _, listed = snapshot.find_provider_model(model, provider, None, None)
    except LookupError:
        return None
    return _price(listed.get_prices(datetime.now(UTC), {"processing": "batch"} if batch else None))


def _price(listed: "ModelPrice") -> Price | None:
    """The price of text; None of a model that is paid by anything else."""
    prompt, reply = vars(listed).get("input_mtok"), vars(listed).get("output_mtok")
    if prompt is None or reply is None:
        return None
    as_of = f"{PRICE_LIST[1]}, genai-prices {PRICE_LIST[0]}"
    starts = {tier.start for rate in (prompt, reply) for tier in getattr(rate, "tiers", ())}
    longer = tuple((start, Price(_rate(prompt, start), _rate(reply, start), as_of)) for start in sorted(starts))
    return Price(_rate(prompt, -1), _rate(reply, -1), as_of, longer)


def _rate(rate: "Decimal | TieredPrices", start: int) -> float:
    """USD per million tokens where the prompt has more than `start` tokens."""
    if isinstance(rate, Decimal):
        return float(rate)
    return float(next((tier.price for tier in reversed(rate.tiers) if start >= tier.start), rate.base))


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
