"""AlpacaEval's scores: from a run's samples, and from annotation files, the same way."""

from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
import pandas as pd

from harness.bench._alpaca_files import Annotation, read_annotations
from harness.bench._alpaca_lc import STAND_IN, Reference, length_controlled, read_reference
from harness.bench.api import APPROXIMATE, SCORE_COLUMNS, Sample, samples_frame
from harness.core.errors import HarnessError
from harness.judge.api import Status
from harness.stats.clustered import clustered_mean

BENCHMARK = "alpaca_eval"
WIN_RATE, LENGTH_CONTROLLED, LENGTH_DIFFERENCE = "win_rate", "length_controlled_win_rate", "length_difference"


def pair_samples(
    item: str, category: str, repeat: int, value: float | None, status: Status, difference: int | None, length: int
) -> list[Sample]:
    """The two rows of one verdict: the probability (0..1) that the model's answer is better than the baseline's, and
    the characters by which the baseline's is longer."""
    known: Status = "missing" if difference is None else "ok"
    return [
        Sample(BENCHMARK, WIN_RATE, item, item, category, 1, repeat, value, status, length),
        Sample(BENCHMARK, LENGTH_DIFFERENCE, item, item, category, 1, repeat, difference, known, length),
    ]


def scores(samples: pd.DataFrame, reference: Path = STAND_IN) -> pd.DataFrame:
    """Win rate overall and by data set, length-controlled win rate overall: SCORE_COLUMNS and APPROXIMATE.

    A win rate is the mean of the rows that have a value, its standard error clustered by instruction: with one row each
    it is the package's.
    """
    wins = samples[samples["metric"] == WIN_RATE]
    groups = [("overall", wins)]
    groups += [(str(name), wins[wins["category"] == name]) for name in wins["category"].unique() if name]
    rows = [(BENCHMARK, WIN_RATE, category, *_win_rate(group), False) for category, group in groups]
    rows.append((BENCHMARK, LENGTH_CONTROLLED, "overall", *_controlled(samples, read_reference(reference))))
    frame = pd.DataFrame(rows, columns=[*SCORE_COLUMNS, APPROXIMATE])
    return frame.astype({"value": "Float64", "stderr": "Float64"})


def _win_rate(rows: pd.DataFrame) -> tuple[float | None, float | None, int, int]:
    """Percent, standard error, scored rows, all rows."""
    scored = rows[rows["value"].notna()]
    if scored.empty:
        return None, None, 0, len(rows)
    value, stderr = clustered_mean(scored["value"].to_numpy(dtype=float), scored["cluster"].tolist())
    if stderr is not None:
        clusters = scored["cluster"].nunique()
        stderr *= 100 * float(np.sqrt(clusters / (clusters - 1)))
    return 100 * value, stderr, len(scored), len(rows)


def _controlled(samples: pd.DataFrame, reference: Reference) -> tuple[float | None, float | None, int, int, bool]:
    """Percent, standard error, scored rows, all rows, whether it is approximate."""
    keys = ["item", "repeat"]
    wins, differences = (samples.loc[samples["metric"] == m, [*keys, "value"]] for m in (WIN_RATE, LENGTH_DIFFERENCE))
    rows = wins.merge(differences[differences["value"].notna()], on=keys, suffixes=("", "_difference"))
    counts = int(rows["value"].notna().sum()), len(wins), reference.approximate
    if rows.empty or not rows["item"].str.fullmatch("[0-9]+").all():
        return None, None, *counts
    rate = length_controlled(
        rows["value"].to_numpy(dtype=float, na_value=np.nan),
        rows["value_difference"].to_numpy(dtype=float),
        [int(item) for item in rows["item"]],
        reference,
    )
    return (rate.value, rate.stderr, *counts) if rate else (None, None, *counts)


def score_files(paths: Sequence[Path], lc_reference: Path | None = None) -> pd.DataFrame:
    """Scores of stored annotations: columns model, baseline, judge, SCORE_COLUMNS, APPROXIMATE; a block per model.

    Rows on the same instruction are repeats. An instruction of AlpacaEval's 805 without a row counts in `total`; in
    a file on other instructions (an index beyond those of the reference) only its own rows do.

    Raises:
        HarnessError: a file is broken or empty.
    """
    reference = lc_reference or STAND_IN
    official = read_reference(reference).difficulty.keys()
    found: dict[tuple[str, str, str], list[Annotation]] = {}
    for path in dict.fromkeys(paths):
        for row in read_annotations(path):
            found.setdefault((row.model, row.baseline, row.judge), []).append(row)
    if not found:
        raise HarnessError("no annotations", where="alpaca-eval")
    blocks = []
    for (model, baseline, judge), rows in found.items():
        block = scores(samples_frame(_samples(rows, official)), reference)
        block.insert(0, "model", model)
        block.insert(1, "baseline", baseline)
        block.insert(2, "judge", judge)
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def _samples(rows: Sequence[Annotation], official: Set[int]) -> list[Sample]:
    seen = {row.index: 0 for row in rows}
    samples = []
    for row in rows:
        value = None if row.preference is None else row.preference - 1
        status: Status = "unparseable" if value is None else "ok"
        ours, theirs = row.length, row.baseline_length
        difference = None if ours is None or theirs is None else theirs - ours
        samples += pair_samples(str(row.index), row.dataset, seen[row.index], value, status, difference, ours or 0)
        seen[row.index] += 1
    missing = official - seen.keys() if seen.keys() <= official else set()
    for index in sorted(missing):
        samples += pair_samples(str(index), "", 0, None, "missing", None, 0)
    return samples
