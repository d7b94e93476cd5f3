"""Bits per byte: the loss per byte of text, a scale that bases with different tokenizers share.

A ratio of means: all bits over all bytes.
"""

import numpy as np

from harness.teachers.api import Evidence, Floats, TeacherScore
from harness.teachers.scores._common import columns, ratio


def parts(evidence: Evidence) -> Floats:
    """(R, 2) bits and bytes of each response."""
    bits = -evidence.sums(evidence.table.logprobs) / np.log(2)
    return columns(bits, evidence.table.responses["bytes"].to_numpy(dtype=np.float64))


SCORE = TeacherScore(
    name="bits_per_byte",
    title="Bits per byte",
    source="The Pile, arXiv 2101.00027, section 3.1",
    direction="lower",
    unit="bits/byte",
    needs=frozenset({"tokens"}),
    parts=parts,
    combine=ratio,
)
