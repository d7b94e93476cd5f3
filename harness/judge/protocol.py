"""Verdict protocols: how a judge is asked for a verdict, and how the verdict is read from its reply.

A *form* is a kind of verdict (a rating, the better of two answers). Each form is one module in `judge/forms` that
exports `FORM`; its *modes* are the protocols for judges of different ability:

- `text`: the judge writes freely and its reply is parsed, as the benchmark's own tools do.
- `choice`: the reply is constrained to the possible verdicts (a server with structured outputs).
- `expected`: the verdict is the mean of the possible verdicts under the judge's probabilities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.core.canonical import Json
from harness.core.discover import discover
from harness.core.errors import HarnessError
from harness.judge.thoughts import said

VerdictMode = Literal["text", "choice", "expected"]
TopLogprobs = Mapping[str, float]
"""The likeliest next tokens (after a `Protocol.prefix` without spaces around them) -> natural-log probability."""

CONTINUED: Mapping[str, Json] = {"add_generation_prompt": False, "continue_final_message": True}
"""Sent where we begin the judge's turn (`Protocol.prefix`) and the judge continues it."""
SCORED: Mapping[str, Json] = {"logprobs": True, "top_logprobs": 20}
"""Sent where the likeliest next tokens are wanted."""


def probability(logprob: float) -> float:
    """The probability of a log-probability (nats), which a server's rounding may have put above 0.

    Raises:
        ValueError: it is NaN.
    """
    if math.isnan(logprob):
        raise ValueError("a log-probability of the judge is NaN")
    return math.exp(min(logprob, 0.0))


def constrained(choices: Sequence[str]) -> Mapping[str, Json]:
    """Sent where the reply must be one of these: vLLM's structured output.

    (Its older name `guided_choice` is ignored without a word by vLLM 0.32.)
    """
    return {"structured_outputs": {"choice": list(choices)}}


@dataclass(frozen=True)
class Protocol:
    """How a judge is asked for a verdict in one mode, and how its reply is read.

    Its name and version are part of the judge's digest.
    """

    name: str
    version: int
    """Raised when the same reply would be read differently, or the judge is asked differently."""
    read: Callable[[str], float] | None = None
    """Reply -> value. Raises ValueError, with the reason, when there is no verdict in it."""
    prefix: str = ""
    """Text that the judge's reply is made to begin with; put back in front of what it continues with."""
    scored: Callable[[Sequence[TopLogprobs]], tuple[float, str]] | None = None
    """In place of `read` where the verdict comes from the probabilities of the judge's next tokens, not from the text
    that it writes. Takes the likeliest next tokens after `prefix`, then those after `prefix` plus each of
    `continuations`; returns the value, and the text that is recorded as the reply. Raises ValueError when no possible
    verdict is among the tokens."""
    continuations: tuple[str, ...] = ()
    """Texts that follow `prefix` and after which `scored` needs the next tokens too: one more call each."""
    body: Mapping[str, Json] = field(default_factory=dict)
    """Further fields of the request, beside messages, temperature and max_tokens."""
    most_tokens: int | None = None
    """Tokens of the longest possible reply, where that is known: a server need not keep room for more."""

    upstream: Callable[[str], float | None] | None = None
    """The value that the benchmark's own tool reads in a reply (None: no value), where it may differ from ours."""
    rereads: tuple[int, ...] = ()
    """Earlier versions that asked the same and read otherwise: recorded replies are read anew, and nobody is asked."""

    def __post_init__(self) -> None:
        if (self.read is None) == (self.scored is None):
            raise ValueError(f"the protocol '{self.name}' has not exactly one of `read` and `scored`")

    def verdict(self, reply: str) -> float:
        """The value in what a judge wrote after `prefix`, its thoughts aside; ValueError where there is no value."""
        assert self.read is not None, "a scored protocol takes tokens, not a text"
        return self.read(self.prefix + said(reply))


@dataclass(frozen=True)
class VerdictForm:
    """A kind of verdict, and a protocol for each mode of asking for it."""

    name: str
    modes: Mapping[VerdictMode, Protocol]


def forms() -> Mapping[str, VerdictForm]:
    """Every form by name."""
    return discover("harness.judge.forms", "FORM", VerdictForm)


def find_protocol(form: str, mode: str) -> Protocol:
    """The protocol for a form of verdict.

    Raises:
        HarnessError: the form has no such mode.
    """
    modes = {str(name): protocol for name, protocol in forms()[form].modes.items()}
    if mode not in modes:
        raise HarnessError(
            f"'{form}' verdicts cannot be had by protocol '{mode}'", fix=f"Choose from {', '.join(modes)}."
        )
    return modes[mode]
