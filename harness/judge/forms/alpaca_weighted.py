"""The better of two answers as AlpacaEval 2 asks for it: one token, `m` or `M`, weighted by its probability.

The value is AlpacaEval's preference in the order shown: 1 the first answer (`m`) is better, 2 the second (`M`), in
between a probability.
"""

from collections.abc import Sequence

from harness.judge.forms._alpaca import preference
from harness.judge.protocol import CONTINUED, SCORED, Protocol, TopLogprobs, VerdictForm, constrained

FIRST, SECOND = "m", "M"
_PREFIX = "Best model identifier:"
_AS_THE_PACKAGE = {"temperature": 1, "logprobs": True, "top_logprobs": 5}
"""What the package sends with weighted_alpaca_eval_gpt4_turbo; log-probabilities are those before any temperature."""


def scored_choice(likeliest: Sequence[TopLogprobs]) -> tuple[float, str]:
    """The preference as the package's `logprob_parser` weighs it, 2 - P(m), and the reply that stands for it."""
    return preference(likeliest[0], FIRST, SECOND)


def read_choice(text: str) -> float:
    """The preference of a constrained reply: nothing but `m` or `M`."""
    choice = text.strip()
    if choice not in (FIRST, SECOND):
        raise ValueError(f"the reply is neither {FIRST} nor {SECOND}: the server did not constrain it")
    return 1.0 if choice == FIRST else 2.0


def _scored_continuation(likeliest: Sequence[TopLogprobs]) -> tuple[float, str]:
    value, text = scored_choice(likeliest)
    return value, _PREFIX + text


FORM = VerdictForm(
    "alpaca-weighted",
    {
        "text": Protocol("alpaca-weighted", 1, scored=scored_choice, body=_AS_THE_PACKAGE, most_tokens=1),
        "choice": Protocol("alpaca-weighted-choice", 1, read_choice, body=constrained((FIRST, SECOND)), most_tokens=4),
        # The judge's turn is begun for it, so that a small one says m or M at all; its 20 likeliest tokens are read.
        "expected": Protocol(
            "alpaca-weighted-expected",
            1,
            prefix=_PREFIX,
            scored=_scored_continuation,
            body={**CONTINUED, **SCORED},
            most_tokens=1,
        ),
    },
)
