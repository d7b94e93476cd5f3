"""Local naturalness: how likely each step of a response is, given the prompt and only the few steps before it.

The mean over a step's tokens, then over the response's steps, then over responses: short and long steps count alike.
"""

import numpy as np

from harness.teachers.api import Evidence, Floats, TeacherScore
from harness.teachers.scores._common import columns, mean


def per_step(evidence: Evidence) -> Floats:
    """(R,) mean over steps of the mean token log-probability."""
    table = evidence.table
    assert table.local is not None
    assert table.steps is not None
    if not len(table.responses):
        return np.zeros(0)
    response = np.repeat(np.arange(len(table.responses)), table.responses["tokens"].to_numpy(dtype=np.int64))
    new = (np.diff(response) != 0) | (np.diff(table.steps) != 0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    sizes = np.diff(np.append(starts, len(response)))
    step_means = np.add.reduceat(table.local.astype(np.float64), starts) / sizes
    owner = response[starts]
    out: Floats = np.bincount(owner, weights=step_means) / np.bincount(owner)
    return out


SCORE = TeacherScore(
    name="local_naturalness",
    title="Local naturalness",
    source="arXiv 2510.03988 (later versions call it LALP)",
    direction="higher",
    unit="nats/token",
    needs=frozenset({"local"}),
    parts=lambda evidence: columns(per_step(evidence)),
    combine=mean,
)
