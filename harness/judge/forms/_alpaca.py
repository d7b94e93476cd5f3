"""What AlpacaEval's two forms share: a verdict that is the probabilities of two tokens."""

import json
import math

from harness.judge.protocol import TopLogprobs


def preference(likeliest: TopLogprobs, first: str, second: str) -> tuple[float, str]:
    """1 plus the second token's share of the two probabilities, and the reply that stands for them.

    The reply is JSON, {token: log-probability (nats)}, with those of the two tokens that are among the likeliest.

    Raises:
        ValueError: neither is among them.
    """
    logprobs = {t: likeliest[t] for t in (first, second) if math.isfinite(likeliest.get(t, -math.inf))}
    if not logprobs:
        raise ValueError(f"neither {first} nor {second} is among the judge's likeliest tokens")
    highest = max(logprobs.values())
    mass = {token: math.exp(logprob - highest) for token, logprob in logprobs.items()}
    return 1 + mass.get(second, 0.0) / sum(mass.values()), json.dumps(logprobs)
