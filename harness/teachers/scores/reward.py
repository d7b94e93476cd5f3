"""Mean reward of a teacher's responses: its quality, whoever the student is."""

from harness.teachers.api import Evidence, Floats, TeacherScore
from harness.teachers.scores._common import columns, mean


def rewards(evidence: Evidence) -> Floats:
    """(R,) rewards of the responses."""
    assert evidence.rewards is not None
    return evidence.rewards


SCORE = TeacherScore(
    name="reward",
    title="Reward",
    source="r(D) of arXiv 2411.07133, section 5",
    direction="higher",
    unit="reward",
    needs=frozenset({"reward"}),
    parts=lambda evidence: columns(rewards(evidence)),
    combine=mean,
)
