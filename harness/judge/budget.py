"""Limits on what judges may cost. A call starts only when the most it can cost is left, so no limit is passed."""

import threading
from collections.abc import Sequence

from harness.core.errors import HarnessError, Incomplete
from harness.judge.prices import price_of
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Ledger


class Budget:
    """A limit in USD that the calls of several stages share, each stage in its own thread."""

    def __init__(self, limit: float, spent: float, where: str) -> None:
        self.limit, self.spent, self.where = limit, spent, where
        self._lock = threading.Lock()
        self._holders, self._held = 0, 0.0

    def take(self, most: float) -> bool:
        """Reserve the most that a call can cost (USD); False where the calls under way decide whether it is left.

        Raises:
            Incomplete: it is more than is left, whatever the calls under way will cost.
        """
        with self._lock:
            fits = self.spent + self._held + most <= self.limit
            if fits:
                self._holders, self._held = self._holders + 1, self._held + most
            elif not self._holders:
                raise Incomplete(
                    f"the budget is spent: ${self.spent:.4f} of ${self.limit:.4f}, and the next verdict can cost "
                    f"${most:.4f}",
                    where=self.where,
                    fix="What was asked is kept. Raise the limit and run again to ask the rest.",
                )
            return fits

    def settle(self, most: float, cost: float) -> None:
        """End a reservation of `most` USD: the call has cost `cost`."""
        with self._lock:
            self.spent += cost
            self._holders -= 1
            self._held = self._held - most if self._holders else 0.0


class Budgets:
    """The limits of one run: of each judge (`judge.max_cost_usd`) and of all together (`--max-cost`)."""

    def __init__(self, run: Budget | None = None) -> None:
        self._run = run
        self._judges: dict[str, Budget] = {}
        self._lock = threading.Lock()

    def of(self, judge: str, settings: JudgeSettings, ledger: Ledger) -> list[Budget]:
        """The budgets that a judge's calls are paid from; what the ledger holds of the judge is spent already.

        Raises:
            HarnessError: there is a limit, and the judge's price is not known.
        """
        with self._lock:
            if settings.max_cost_usd is not None and judge not in self._judges:
                spent = sum(cost.price_usd for cost in ledger.costs(judge))
                self._judges[judge] = Budget(settings.max_cost_usd, spent, "judge.max_cost_usd")
        of_judge = self._judges[judge] if settings.max_cost_usd is not None else None
        budgets = [budget for budget in (of_judge, self._run) if budget is not None]
        for budget in budgets:
            check_priced(settings, budget.where)
        return budgets


def check_priced(settings: JudgeSettings, where: str) -> None:
    """Check that a limit on this judge's cost can be kept.

    Raises:
        HarnessError: its price is not known.
    """
    if price_of(settings) is None:
        raise HarnessError(
            f"no price is known for the judge {settings.model}, so this limit cannot be kept",
            where=where,
            fix="Remove the limit, or ask a model that genai-prices lists.",
        )


def take(budgets: Sequence[Budget], most: float) -> bool:
    """Reserve the most that a call can cost from every budget, or from no budget at all."""
    taken: list[Budget] = []
    try:
        for budget in budgets:
            if not budget.take(most):
                break
            taken.append(budget)
        return len(taken) == len(budgets)
    finally:
        if len(taken) < len(budgets):
            for budget in taken:
                budget.settle(most, 0.0)
