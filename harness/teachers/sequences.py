"""The model's input in each pass: token ids, and which of their hidden states predict which response tokens.

tokens   prompt and response, as they are
alone    each turn of the response after the start token only (IFD)
local    the prompt, then for each step a copy of the step and of at most k steps before it. A copy sees the prompt and
         itself and has the positions of the full text, so that one forward pass equals a pass per truncated text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Response:
    """A response within its conversation; n is the number of its tokens that are scored."""

    start: int
    """Where its n values begin in the table's arrays."""
    ids: Ints
    """(L,) the conversation up to the last scored token."""
    columns: Ints
    """(n,) positions of the scored tokens in `ids`; never 0."""
    turns: Ints
    """(n,) 0-based number of each token's assistant turn."""
    steps: Ints
    """(n,) 0-based number of each token's step; a step lies within a turn."""


@dataclass(frozen=True)
class Row:
    """A row of a batch: S tokens in, m values out."""

    start: int
    """Where the m values begin in the table's arrays; they are neighbours there."""
    ids: Ints
    """(S,) the model's input."""
    predictors: Ints
    """(m,) the input column whose hidden state predicts each of `targets`."""
    targets: Ints
    """(m,) the scored tokens."""
    positions: Ints | None = None
    """(S,) positions in the full text; None: 0, 1, ..."""
    segments: Ints | None = None
    """(S,) 0 for the prompt, which all tokens see; a token of another segment also sees its segment, and no other."""


def given_prompt(response: Response) -> Iterator[Row]:
    """The response after its prompt."""
    columns, ids = response.columns, response.ids
    yield Row(response.start, ids[:-1], columns - 1, ids[columns])


def alone(response: Response, start_id: int) -> Iterator[Row]:
    """Each turn of the response after the start token, without prompt and earlier turns."""
    for first, last in _runs(response.turns):
        tokens = response.ids[response.columns[first:last]]
        inputs = np.concatenate([[start_id], tokens[:-1]]).astype(np.int32)
        yield Row(response.start + first, inputs, np.arange(last - first, dtype=np.int32), tokens)


def local(response: Response, steps_before: int, limit: int) -> Iterator[Row]:
    """Each step after its prompt (which includes earlier turns) and at most `steps_before` earlier steps of its turn.

    Copies that would make a sequence longer than `limit` tokens go to a further sequence.
    """
    for first, last in _runs(response.turns):
        prompt = int(response.columns[first])
        windows: list[tuple[int, int, int]] = []
        length = prompt
        bounds = [(first + a, first + b) for a, b in _runs(response.steps[first:last])]
        for number, (begin, end) in enumerate(bounds):
            seen = bounds[max(0, number - steps_before)][0]
            if windows and length + end - seen > limit:
                yield _packed(response, prompt, windows)
                windows, length = [], prompt
            windows.append((seen, begin, end))
            length += end - seen
        yield _packed(response, prompt, windows)


def _packed(response: Response, prompt: int, windows: list[tuple[int, int, int]]) -> Row:
    """The prompt and a segment for each window: tokens `seen` to `end` of the response, scored from `begin` on."""
    columns = [np.arange(prompt, dtype=np.int32)]
    segments = [np.zeros(prompt, dtype=np.int32)]
    predictors = []
    base = prompt
    for number, (seen, begin, end) in enumerate(windows, 1):
        inputs = response.columns[seen : end - 1]  # The last token predicts nothing.
        columns.append(inputs)
        segments.append(np.full(len(inputs), number, dtype=np.int32))
        before = base + np.arange(begin - 1 - seen, end - 1 - seen, dtype=np.int32)
        if begin == seen:
            before[0] = prompt - 1
        predictors.append(before)
        base += len(inputs)
    first, last = windows[0][1], windows[-1][2]
    positions = np.concatenate(columns)
    return Row(
        response.start + first,
        response.ids[positions],
        np.concatenate(predictors),
        response.ids[response.columns[first:last]],
        positions,
        np.concatenate(segments),
    )


def _runs(values: Ints) -> list[tuple[int, int]]:
    """[start, end) of each run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    cuts = [0, *edges.tolist(), len(values)]
    return list(pairwise(cuts))
