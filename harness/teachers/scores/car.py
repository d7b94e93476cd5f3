"""Compatibility-Adjusted Reward: good responses, discounted by how far they are from the student.

CAR = r / (1 + beta L), with r the mean reward and L the mean loss. The paper does not print beta: it is a setting, and
swept (`harness.teachers.car`).
"""

import numpy as np

from harness.core.errors import HarnessError
from harness.teachers.api import Floats, TeacherScore
from harness.teachers.scores._common import columns, nll
from harness.teachers.scores.reward import rewards
from harness.teachers.settings import TeachersSettings


def car(means: Floats, settings: TeachersSettings) -> Floats:
    """Mean (reward, loss) of T teachers in B resamples, (B, T, 2), (T, 2) or (2,) -> CAR.

    Raises:
        HarnessError: a teacher's mean reward is negative, so that a larger loss would make CAR better. The mean is over
            resamples too, because a single resample below 0 is no reason to refuse.
    """
    reward = means[..., 0] + (settings.car.shift or 0.0)
    mean = reward.mean(axis=0) if reward.ndim > 1 else reward
    if np.any(mean < 0):
        lowest = float(np.nanmin(mean))
        raise HarnessError(
            f"a mean reward of {lowest:.4g} is negative, and CAR would favour the larger loss",
            where="teachers.car.shift",
            fix=f"Add at least {(settings.car.shift or 0.0) - lowest:.4g} to every reward with teachers.car.shift, "
            "or leave car out of teachers.scores.",
        )
    score: Floats = reward / (1 + settings.car.beta * means[..., 1])
    return score


SCORE = TeacherScore(
    name="car",
    title="CAR",
    source="arXiv 2411.07133, section 5",
    direction="higher",
    unit="reward",
    needs=frozenset({"reward", "tokens"}),
    parts=lambda evidence: columns(rewards(evidence), nll(evidence)),
    combine=car,
)
