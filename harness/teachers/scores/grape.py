"""GRAPE: mean log-likelihood per response token under the student base, that is the negative loss.

The paper picks a response per prompt by this number; here it is averaged over a teacher's responses.
"""

from harness.teachers.api import TeacherScore
from harness.teachers.scores._common import columns, mean, nll

SCORE = TeacherScore(
    name="grape",
    title="GRAPE",
    source="arXiv 2502.04194, section 3",
    direction="higher",
    unit="nats/token",
    needs=frozenset({"tokens"}),
    parts=lambda evidence: columns(-nll(evidence)),
    combine=mean,
)
