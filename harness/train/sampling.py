"""The student's own answers in the place of a dataset's responses: made by the model in training, as its steps go.

An answer is drawn from the weights as they are, with a seed of (training, step, row). So a training that was stopped
makes the same answers again, where it goes on from a step at which answers are made; `train.trainer` saves only there.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.generate import attention
from harness.generate.decoding import Row, batch_length, decode
from harness.train.api import Sum
from harness.train.batches import EffectiveBatches
from harness.train.examples import Example, Examples
from harness.train.losses import IGNORED
from harness.train.settings import SAMPLED_AT_ONCE, Sampling

LENGTH, CUT, EMPTY = "sample_length", "sample_cut", "sample_empty"
REPETITION, ENTROPY, LOGPROB = "sample_repetition", "sample_entropy", "logprob/student"
"""Names in the curve, of the answers that a step learns from. Means: tokens of an answer, its end included; the shares
that were cut and that were empty; the share of runs of four tokens that an answer has had before; the entropy of the
student's next-token distribution, and its log-probability of the token that was drawn, in nats at temperature 1."""
_GRAM = 4
_PATIENCE = 10
"""Steps after which a bad state is one."""
_EXPLODED = 4
"""Times as long as at first."""


@dataclass(frozen=True)
class Limits:
    """Where an answer ends."""

    stops: frozenset[int]
    length: int
    """The most tokens of a conversation."""


@dataclass
class _Row(Row):
    """An answer in the making."""

    entropy: float = 0.0
    """The sum over its tokens, in nats."""
    logprob: float = 0.0


def _watch(rows: Sequence[_Row], logits: torch.Tensor, chosen: torch.Tensor) -> None:
    log_q = logits.float().log_softmax(-1)
    entropies, logprobs = torch.special.entr(log_q.exp()).sum(-1), log_q.gather(-1, chosen[:, None])[:, 0]
    for row, entropy, logprob in zip(rows, entropies.tolist(), logprobs.tolist(), strict=True):
        row.entropy += entropy
        row.logprob += logprob


class Sampler:
    """Makes the examples of each step."""

    def __init__(
        self,
        model: Any,
        how: Sampling,
        limits: Limits,
        examples: Examples,
        batches: EffectiveBatches,
        seed: int,
        spent: Callable[[int], None],
    ) -> None:
        """`spent` is told how many tokens went through the model."""
        attention.use(model)
        self.how = how
        self._model, self._limits, self._examples, self._batches = model, limits, examples, batches
        self._seed, self._spent = seed, spent
        self._made: dict[int, tuple[list[Example], Mapping[str, Sum]]] = {}

    def __call__(self, step: int, last: int) -> tuple[list[Example], Mapping[str, Sum]]:
        """The examples of a step, counted from 0, and what the answers that this process made add to the curve.

        Answers are made for `Sampling.every` steps at once, of the `last` steps of the training. Each process makes its
        share of them and gets all.
        """
        if step not in self._made:
            first = step - step % self.how.every
            self._made = self._sampled(range(first, min(first + self.how.every, last)))
        return self._made.pop(step)

    def _sampled(self, steps: range) -> dict[int, tuple[list[Example], Mapping[str, Sum]]]:
        state = PartialState()
        examples = {step: [self._examples[number] for number in self._batches.at(step)] for step in steps}
        places = [(step, at) for step in steps for at, e in enumerate(examples[step]) if self._is_sampled(step, e)]
        places = places[state.process_index :: state.num_processes]
        rows = {(step, at): self._row(step, examples[step][at]) for step, at in places}
        self._answer(list(rows.values()))
        self._spent(sum(len(row.ids) + len(row.tokens) for row in rows.values()))
        for (step, at), tokens in gather_object([(place, row.tokens) for place, row in rows.items()]):
            examples[step][at] = _answered(examples[step][at], tokens)
        return {
            step: (examples[step], self._facts([row for place, row in rows.items() if place[0] == step]))
            for step in steps
        }

    def _is_sampled(self, step: int, example: Example) -> bool:
        return derive_seed(self._seed, "sampled", step, example["row"]) < self.how.share * 2**63

    def _row(self, step: int, example: Example) -> _Row:
        prompt = example["input_ids"][: _begin(example)].tolist()
        limit = min(self.how.max_new_tokens, self._limits.length - len(prompt))
        return _Row(prompt, limit, self.how.temperature, derive_seed(self._seed, "sample", step, example["row"]))

    def _answer(self, rows: Sequence[_Row]) -> None:
        """Fill the rows, longest prompts first."""
        self._model.eval()
        waiting = sorted(rows, key=lambda row: -len(row.ids))
        while waiting:
            batch = waiting[: batch_length(len(waiting[0].ids), SAMPLED_AT_ONCE)]
            waiting = waiting[len(batch) :]
            with torch.no_grad():
                decode(self._model, batch, self._limits.stops, _watch)

    def _facts(self, rows: Sequence[_Row]) -> dict[str, Sum]:
        tokens, answers = float(sum(len(row.tokens) for row in rows)), float(len(rows))
        again = [_repeated(row.tokens) for row in rows]
        return {
            LENGTH: (tokens, answers),
            CUT: (float(sum(row.finish == "length" for row in rows)), answers),
            EMPTY: (float(sum(row.tokens[0] in self._limits.stops for row in rows)), answers),
            REPETITION: (float(sum(n for n, _ in again)), float(sum(n for _, n in again))),
            ENTROPY: (sum(row.entropy for row in rows), tokens),
            LOGPROB: (sum(row.logprob for row in rows), tokens),
        }


def _begin(example: Example) -> int:
    """Where the last response begins."""
    taught = np.flatnonzero(example["labels"] != IGNORED)
    return int(taught[np.flatnonzero(np.diff(taught, prepend=-1) > 1)[-1]])


def _answered(example: Example, tokens: Sequence[int]) -> Example:
    """The example with these tokens in the place of its last response; earlier turns are read, not learned."""
    prompt, answer = example["input_ids"][: _begin(example)], np.array(tokens)
    return {
        **example,
        "input_ids": np.concatenate([prompt, answer]),
        "labels": np.concatenate([np.full(len(prompt), IGNORED), answer]),
        "sampled": True,
    }


def _repeated(tokens: Sequence[int]) -> tuple[int, int]:
    """How many runs of four tokens an answer has had before, and how many it has."""
    grams = Counter(zip(*(tokens[i:] for i in range(_GRAM)), strict=False))
    return grams.total() - len(grams), grams.total()


def check(curve: Sequence[Mapping[str, float]], how: Sampling) -> None:
    """HarnessError where a training's last steps, of those that sampled answers, leave nothing to learn from."""
    steps = [entry for entry in curve if CUT in entry]
    first, last = steps[:_PATIENCE], steps[-_PATIENCE:]
    if len(steps) < _PATIENCE:
        return
    lately = f"in the last {_PATIENCE} steps that sampled answers"
    if all(entry[CUT] == 1 for entry in last):
        raise HarnessError(
            f"every answer of the student was cut at {how.max_new_tokens} tokens {lately}",
            fix="Raise `max_new_tokens`, or put an `sft` step before this one, in which the student learns to end.",
        )
    if all(entry[EMPTY] == 1 for entry in last):
        raise HarnessError(
            f"every answer of the student was empty {lately}",
            fix="Lower the learning rate, or learn from the data's responses too: `sampled` below 1.",
        )
    before, now = (float(np.mean([entry[LENGTH] for entry in part])) for part in (first, last))
    cut = float(np.mean([entry[CUT] for entry in last]))
    if now > _EXPLODED * before and cut > 0.5:
        raise HarnessError(
            f"the student's answers have exploded: {before:.0f} tokens at first, {now:.0f} {lately}, {cut:.0%} cut",
            fix="Lower the learning rate, or learn from the data's responses too: `sampled` below 1.",
        )
