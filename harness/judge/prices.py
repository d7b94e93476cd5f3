"""What a judge call costs: list prices by model name, dated in `prices.csv`, and the budget they are held against."""

import asyncio
import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from harness.core.canonical import Json
from harness.core.errors import HarnessError, Incomplete
from harness.judge.settings import JudgeSettings

_CHARS_PER_TOKEN = 2
"""Fewer than any English text has (about 4), so that an estimate made with it is an upper bound."""


@dataclass(frozen=True)
class Price:
    """USD per million tokens, at list price."""

    input: float
    output: float
    as_of: str
    """Year and month of the list."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD of one call."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@cache
def price_list() -> Mapping[str, Price]:
    """Prices by model name."""
    with files("harness.judge").joinpath("prices.csv").open(encoding="utf-8") as file:
        return {
            row["model"]: Price(float(row["input_usd_per_million"]), float(row["output_usd_per_million"]), row["as_of"])
            for row in csv.DictReader(file)
        }


def price_of(settings: JudgeSettings) -> Price | None:
    """The judge's price; nothing for one that we serve ourselves, None when the list has no such model."""
    return Price(0.0, 0.0, "") if settings.serve else price_list().get(settings.model)


class Budget:
    """Money for one judge. A call starts only when the most it can cost is left, so the limit is never passed."""

    def __init__(self, settings: JudgeSettings, spent: float) -> None:
        self.limit, self.spent = settings.max_cost_usd, spent
        self.price, self.max_tokens = price_of(settings), settings.max_tokens
        self._holders, self._held = 0, 0.0
        self._changed = asyncio.Condition()
        if self.limit is not None and self.price is None:
            raise HarnessError(
                f"no price is known for the judge {settings.model}, so max_cost_usd cannot be kept",
                where="judge.max_cost_usd",
                fix="Remove max_cost_usd, or ask a model that `harness/judge/prices.csv` lists.",
            )

    @asynccontextmanager
    async def hold(self, messages: Sequence[Mapping[str, Json]]) -> AsyncIterator[float]:
        """Reserve the most a call can cost (and yield it), waiting for calls under way when that may be too much.

        Raises:
            Incomplete: it is too much, whatever the calls under way will cost.
        """
        if self.limit is None or self.price is None:
            yield 0.0
            return
        characters = sum(len(str(message["content"])) for message in messages)
        most = self.price.cost(characters // _CHARS_PER_TOKEN, self.max_tokens)
        async with self._changed:
            while self.spent + self._held + most > self.limit:
                if not self._holders:
                    raise self._too_much(self.limit, most)
                await self._changed.wait()
            self._holders += 1
            self._held += most
        try:
            yield most
        finally:
            async with self._changed:
                self._holders -= 1
                self._held = self._held - most if self._holders else 0.0
                self._changed.notify_all()

    def _too_much(self, limit: float, most: float) -> Incomplete:
        return Incomplete(
            f"the budget is spent: ${self.spent:.4f} of ${limit:.4f}, and the next call can cost ${most:.4f}",
            where="judge.max_cost_usd",
            fix="What was asked is kept. Raise max_cost_usd and run again to ask the rest.",
        )
