"""What AlpacaEval's two forms share: a verdict that is the probabilities of two tokens."""

import json
import math

from harness.judge.protocol import Likeliest


def tokens_reply(likeliest: Likeliest, first: str, second: str) -> str:
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
    found = json.loads(reply)
    sound = isinstance(found, dict) and found and found.keys() <= {first, second}
    if not sound or not all(isinstance(logprob, float | int) for logprob in found.values()):
        raise ValueError(f"no log-probabilities of {first} and {second} in the reply")
    highest = max(found.values())
    mass = {token: math.exp(logprob - highest) for token, logprob in found.items()}
    return 1 + mass.get(second, 0.0) / sum(mass.values())
