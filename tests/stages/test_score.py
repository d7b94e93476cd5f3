"""A score that is declared to be the mean of its samples is held to it before it is stored."""

import numpy as np
import pytest

from harness.bench.api import Metric, Sample, samples_frame
from harness.bench.turns import turn_scores
from harness.core.errors import HarnessError
from harness.stages.score import _check_means

RATE = Metric("rate", "%", "higher", "general")
SAMPLES = samples_frame([Sample("b", "rate", str(k), str(k), "", 1, 0, 100.0 * (k % 2), "ok", 1) for k in range(5)])


def test_a_mean_of_samples_passes_and_another_number_does_not() -> None:
    scores = turn_scores(SAMPLES)
    _check_means([RATE], SAMPLES, scores)
    in_shares = SAMPLES.assign(value=SAMPLES["value"] / 100)
    with pytest.raises(HarnessError, match=r"metric rate: the score 40 is not the mean of its samples, 0\.4"):
        _check_means([RATE], in_shares, scores)


def test_a_metric_that_declares_another_number_may_have_it() -> None:
    in_shares = SAMPLES.assign(value=SAMPLES["value"] / 100)
    _check_means([Metric("rate", "%", "higher", "general", mean=False)], in_shares, turn_scores(SAMPLES))


def test_nothing_scored_is_no_mean_either() -> None:
    nothing = SAMPLES.assign(value=np.nan).astype({"value": "Float64"})
    _check_means([RATE], nothing, turn_scores(nothing))
