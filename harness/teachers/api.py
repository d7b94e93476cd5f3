"""A teacher score: ingredients per response, and how their means over prompts combine to a number.

A forward pass of a student base over a teacher's responses is stored as per-token numbers (`TokenTable`), from which
every score of the likelihood type is computed. A score is a module in `teachers/scores`, or a plug-in, that exports
`SCORE`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.core.discover import discover
from harness.teachers.settings import TeachersSettings

Floats = NDArray[np.float64]
Need = Literal["tokens", "ranks", "alone", "local", "reward"]
"""tokens: log-probabilities of the response given the prompt; ranks: of the same tokens; alone: log-probabilities of
the response without its prompt; local: given the prompt and few earlier steps; reward: one number per response."""
PASSES: tuple[Need, ...] = ("tokens", "ranks", "alone", "local")

RESPONSE_COLUMNS = ("id", "status", "tokens", "prompt_tokens", "bytes", "characters", "cut")
"""Columns of `TokenTable.responses`: status is `ok` or why the response is not scored (`empty`, `no room`, `refused`
by the student base's chat template); tokens is the number of scored response tokens (0 unless ok); bytes and characters
are those of the scored text (UTF-8); cut says that the response was longer than `max_length`."""


@dataclass(frozen=True)
class TokenTable:
    """Per-token numbers of a student base on a teacher's responses.

    The per-token arrays hold the scored responses one after another, in the order of `responses`: row r of `responses`
    has `tokens[r]` entries. An array whose pass was not run is None.
    """

    responses: pd.DataFrame
    """RESPONSE_COLUMNS, a row per response."""
    logprobs: Floats
    """(N,) natural-log probability of each response token given prompt and earlier tokens."""
    ranks: NDArray[np.int64] | None = None
    """(N,) rank of each response token, 1 the likeliest."""
    alone: Floats | None = None
    """(N,) natural-log probability without the prompt (IFD)."""
    local: Floats | None = None
    """(N,) natural-log probability given the prompt and at most k earlier steps."""
    steps: NDArray[np.int64] | None = None
    """(N,) 0-based number of the step (line or sentence) within the response that each token belongs to."""


@dataclass(frozen=True)
class Evidence:
    """The input of a score: the R usable responses of a (teacher, student base)."""

    table: TokenTable
    """Only rows with status `ok` (and with a reward, if any score needs it)."""
    rewards: Floats | None
    """(R,) or None when the recipe has no reward."""
    settings: TeachersSettings

    def sums(self, values: NDArray[np.floating] | NDArray[np.integer]) -> Floats:
        """(R,) sums of a per-token array over each response."""
        lengths = self.table.responses["tokens"].to_numpy(dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        return np.add.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)

    @property
    def lengths(self) -> Floats:
        """(R,) scored tokens per response."""
        return self.table.responses["tokens"].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class TeacherScore:
    """A number per (teacher, student base)."""

    name: str
    title: str
    """The score's name as its authors write it."""
    source: str
    """Paper and equation."""
    direction: Literal["higher", "lower"]
    """Which values mean a better teacher."""
    unit: str
    needs: frozenset[Need]
    parts: Callable[[Evidence], Floats]
    """Evidence -> (R, K): K ingredients per response."""
    combine: Callable[[Floats, TeachersSettings], Floats]
    """Means of the ingredients over prompts, (..., K) -> the score, (...): pure and vectorised, so that a bootstrap is
    a single call. May raise HarnessError (a negative mean reward without a shift)."""


def all_scores() -> Mapping[str, TeacherScore]:
    """Every teacher score by name."""
    return discover("harness.teachers.scores", "SCORE", TeacherScore)
