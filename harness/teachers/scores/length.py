"""Mean length of the scored responses in the student's tokens: a baseline that ignores their content."""

from harness.teachers.api import TeacherScore
from harness.teachers.scores._common import columns, mean

SCORE = TeacherScore(
    name="length",
    title="Response length",
    source="baseline of arXiv 2411.07133, table 4",
    direction="higher",
    unit="tokens",
    needs=frozenset({"tokens"}),
    parts=lambda evidence: columns(evidence.lengths),
    combine=mean,
)
