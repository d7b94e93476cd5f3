"""Perplexity: the exponential of the loss, so the geometric mean of the responses' perplexities.

An arithmetic mean of perplexities would be that of the few strangest responses. This one ranks as the loss does.
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
