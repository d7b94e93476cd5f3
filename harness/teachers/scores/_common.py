"""Ingredients and combinations that several scores share."""

import numpy as np

from harness.teachers.api import Evidence, Floats
from harness.teachers.settings import TeachersSettings


def nll(evidence: Evidence) -> Floats:
    """(R,) mean negative log-likelihood per response token, in nats."""
    return -evidence.sums(evidence.table.logprobs) / evidence.lengths


def columns(*ingredients: Floats) -> Floats:
    """K arrays (R,) side by side, (R, K)."""
    return np.stack(ingredients, axis=-1)


def mean(means: Floats, settings: TeachersSettings) -> Floats:
    """The score is the mean over responses of its only ingredient."""
    return means[..., 0]


def ratio(means: Floats, settings: TeachersSettings) -> Floats:
    """The score is a ratio of two means, not a mean of ratios, so that long responses weigh by their length."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Floats = means[..., 0] / means[..., 1]
    return quotient
