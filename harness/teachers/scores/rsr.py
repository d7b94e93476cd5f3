"""Rank-Surprisal Ratio: low for responses that surprise the student (large -log p) with tokens that it ranks high.

Ranks count from 1 and are clipped at 100; a data set's ratio is the sum of ranks over the sum of surprisal.
"""

import numpy as np

from harness.teachers.api import Evidence, Floats, TeacherScore
from harness.teachers.scores._common import columns, ratio

CLIP = 100
"""The paper's largest rank."""


def parts(evidence: Evidence) -> Floats:
    """(R, 2) sums over each response of clipped ranks and of surprisal in nats."""
    assert evidence.table.ranks is not None
    ranks = np.minimum(evidence.table.ranks, CLIP)
    return columns(evidence.sums(ranks), -evidence.sums(evidence.table.logprobs))


SCORE = TeacherScore(
    name="rsr",
    title="RSR",
    source="arXiv 2601.14249",
    direction="lower",
    unit="ranks/nat",
    needs=frozenset({"tokens", "ranks"}),
    parts=parts,
    combine=ratio,
)
