"""The verdict on a comparison, in a word or two.

better / worse: the corrected p is below 5 %. Otherwise the minimum detectable effect decides: "no difference shown" if
the comparison could have detected a difference that matters, "underpowered" if it could not. The user sets which
difference matters; by default it is Cohen's small effect, 0.2 standard deviations between questions.
"""

from typing import Literal

Verdict = Literal["better", "worse", "no difference shown", "underpowered", "not tested"]

SMALL_EFFECT = 0.2
"""In standard deviations between questions; Cohen, *Statistical Power Analysis*, 1988."""


def verdict(
    value: float,
    p: float | None,
    mde: float | None,
    matters: float,
    direction: Literal["higher", "lower"] = "higher",
    alpha: float = 0.05,
) -> Verdict:
    """The verdict on a difference `value` with (corrected) p; `matters` is the smallest difference of interest."""
    if p is None or mde is None:
        return "no difference shown" if p == 1.0 else "not tested"
    if p < alpha:
        return "better" if (value > 0) == (direction == "higher") else "worse"
    return "no difference shown" if mde <= matters else "underpowered"
