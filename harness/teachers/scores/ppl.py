"""Perplexity: the exponential of the loss, so the geometric mean of the responses' perplexities.

A few strange responses would dominate an arithmetic mean. Perplexity ranks teachers as the loss does.
"""

import numpy as np

from harness.teachers.api import TeacherScore
from harness.teachers.scores._common import columns, nll

SCORE = TeacherScore(
    name="ppl",
    title="PPL-Self",
    source="baseline of arXiv 2411.07133, table 4",
    direction="lower",
    unit="perplexity",
    needs=frozenset({"tokens"}),
    parts=lambda evidence: columns(nll(evidence)),
    combine=lambda means, settings: np.exp(means[..., 0]),
)
