"""The better of two answers as AlpacaEval 1 asks for it: a Python list that ranks `model_1` and `model_2`.

The value is AlpacaEval's preference in the order shown: 1 the first answer is better, 2 the second, in between a
probability.
"""

import ast
from collections.abc import Sequence

from harness.judge.forms._alpaca import preference
from harness.judge.protocol import CONTINUED, SCORED, Protocol, TopLogprobs, VerdictForm, constrained

FIRST = "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
SECOND = "[{'model': 'model_2', 'rank': 1}, {'model': 'model_1', 'rank': 2}]"
MOST_TOKENS = 100
"""Of a reply, as the package asks for it."""
_PREFIX = "[{'rank': 1, 'model': 'model_"


def read_ranking(text: str) -> float:
    """The rank of `model_1`, as the package's `ranking_parser` finds it: the reply must be nothing but the list."""
    try:
        rank = next(row["rank"] for row in ast.literal_eval(text) if row["model"] == "model_1")
    except (ValueError, SyntaxError, TypeError, KeyError, StopIteration, MemoryError, RecursionError) as error:
        raise ValueError(f"no ranking in the reply ({type(error).__name__})") from None
    if rank not in (1, 2):
        raise ValueError(f"the rank of model_1 is {rank!r}")
    return float(rank)


def scored_winner(likeliest: Sequence[TopLogprobs]) -> tuple[float, str]:
    """The preference by the probabilities of 1 and 2 as the number of the better model, and the reply for them."""
    value, text = preference(likeliest[0], "1", "2")
    return value, _PREFIX + text


FORM = VerdictForm(
    "alpaca-ranking",
    {
        "text": Protocol("alpaca-ranking", 2, read_ranking, rereads=(1,), most_tokens=MOST_TOKENS),
        "choice": Protocol(
            "alpaca-ranking-choice", 1, read_ranking, body=constrained((FIRST, SECOND)), most_tokens=MOST_TOKENS
        ),
        "expected": Protocol(
            "alpaca-ranking-expected",
            1,
            prefix=_PREFIX,
            scored=scored_winner,
            body={**CONTINUED, **SCORED},
            most_tokens=1,
        ),
    },
)
