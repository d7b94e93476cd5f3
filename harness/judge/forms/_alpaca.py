"""What AlpacaEval's two forms share: a verdict that is the probabilities of two tokens."""

import json
import math

from harness.judge.protocol import TopLogprobs

_LARGEST = 1e300
"""No log-probability is as far from 0: Python reads NaN, infinities and integers of any length as JSON."""


def tokens_reply(likeliest: TopLogprobs, first: str, second: str) -> str:
    """The reply that stands for the probabilities of two tokens: {token: log-probability (nats)}, those that are there.

    Raises:
        ValueError: neither is among the likeliest tokens.
    """
    found = {t: likeliest[t] for t in (first, second) if math.isfinite(likeliest.get(t, -math.inf))}
    if not found:
        raise ValueError(f"neither {first} nor {second} is among the judge's likeliest tokens")
    return json.dumps(found)


def read_tokens(reply: str, first: str, second: str) -> float:
    """The preference in a reply that `tokens_reply` wrote: 1 plus the second's share of the two probabilities."""
    try:
        found = json.loads(reply)
    except RecursionError:
        raise ValueError("the reply is nested too deeply") from None
    sound = isinstance(found, dict) and found and found.keys() <= {first, second}
    if not sound or not all(type(p) in (float, int) and abs(p) < _LARGEST for p in found.values()):
        raise ValueError(f"no log-probabilities of {first} and {second} in the reply")
    highest = max(found.values())
    mass = {token: math.exp(logprob - highest) for token, logprob in found.items()}
    return 1 + mass.get(second, 0.0) / sum(mass.values())
