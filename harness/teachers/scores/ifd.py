"""Instruction-Following Difficulty: how little the prompt helps the student to write the response.

PPL(response | prompt) / PPL(response), per response, averaged over responses. This is the definition of Superfiltering
(arXiv 2402.00530) and of the CAR paper; the first definition (arXiv 2308.12032) divides mean losses. Above 1 the prompt
misleads; a filter of single responses would drop such responses, a teacher's mean includes them.
"""

import numpy as np

from harness.teachers.api import Evidence, Floats, TeacherScore
from harness.teachers.scores._common import columns, mean, nll


def difficulty(evidence: Evidence) -> Floats:
    """(R,) ratios of perplexities."""
    assert evidence.table.alone is not None
    alone = -evidence.sums(evidence.table.alone) / evidence.lengths
    ratios: Floats = np.exp(nll(evidence) - alone)
    return ratios


SCORE = TeacherScore(
    name="ifd",
    title="IFD-Self",
    source="arXiv 2402.00530, after 2308.12032; baseline of arXiv 2411.07133, table 4",
    direction="higher",
    unit="ratio",
    needs=frozenset({"tokens", "alone"}),
    parts=lambda evidence: columns(difficulty(evidence)),
    combine=mean,
)
