"""Loss of the student base, before tuning, on a teacher's responses: low where the student could have written them.

Averaged over the tokens of each response, then over responses, so that a long response counts once.
"""

from harness.teachers.api import TeacherScore
from harness.teachers.scores._common import columns, mean, nll

SCORE = TeacherScore(
    name="loss",
    title="Loss",
    source="L(D, θ) of arXiv 2411.07133, section 5 (which does not say how it averages)",
    direction="lower",
    unit="nats/token",
    needs=frozenset({"tokens"}),
    parts=lambda evidence: columns(nll(evidence)),
    combine=mean,
)
