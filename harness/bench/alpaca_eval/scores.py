"""AlpacaEval's scores: from a run's samples, and from annotation files, the same way."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.bench.alpaca_eval.files import Annotation, read_annotations
from harness.bench.alpaca_eval.length_control import STAND_IN, contributions, is_stand_in, read_reference
from harness.bench.api import APPROXIMATE, SCORE_COLUMNS, Sample, samples_frame
from harness.bench.audit import audit_metric
from harness.core.errors import HarnessError
from harness.stats.audit import FEWEST
from harness.stats.clustered import clustered_mean
from harness.store.ledger import Status

BENCHMARK = "alpaca_eval"
CONTROLLED_FEWEST = 200
"""Audited instructions below which a length-controlled rate is not audited: its model, fitted to a hundred of the
reference's verdicts, is off, and intervals hold too seldom (`results/reference/audit/README.md`)."""
_NAMED = 5
"""Instructions that a note names."""
WIN_RATE, LENGTH_CONTROLLED, LENGTH_DIFFERENCE = "win_rate", "length_controlled_win_rate", "length_difference"


def pair_samples(
    item: str, category: str, repeat: int, value: float | None, status: Status, difference: int | None, length: int
) -> list[Sample]:
    """The two rows of one verdict on an answer of `length` characters.

    They are the probability that the model's answer is better than the baseline's (`value`, 0..1; its sample is in
    percent), and the characters by which the baseline's is longer (`difference`).
    """
    percent = None if value is None else 100 * value
    known: Status = "missing" if difference is None else "ok"
    return [
        Sample(BENCHMARK, WIN_RATE, item, item, category, 1, repeat, percent, status, length),
        Sample(BENCHMARK, LENGTH_DIFFERENCE, item, item, category, 1, repeat, difference, known, length),
    ]


def controlled_samples(pairs: Sequence[Sample], reference: Path) -> list[Sample]:
    """The rows of the length-controlled win rate: what each instruction contributes to it, in percent.

    Their mean is the rate (see `length_control`). There are none where the rate has no meaning: other instructions than
    the reference's, or no verdict at all.
    """
    known = {(s.item, s.repeat): s.value for s in pairs if s.metric == LENGTH_DIFFERENCE and s.value is not None}
    wins = [s for s in pairs if s.metric == WIN_RATE and (s.item, s.repeat) in known]
    if not wins or not all(_INDEX.fullmatch(s.item) for s in wins):
        return []
    preference = np.array([np.nan if s.value is None else s.value / 100 for s in wins])
    delta = np.array([known[s.item, s.repeat] for s in wins], dtype=float)
    found = contributions(preference, delta, [int(s.item) for s in wins], read_reference(reference)) or {}
    firsts = {int(s.item): s for s in reversed(wins)}
    return [
        replace(firsts[index], metric=LENGTH_CONTROLLED, repeat=0, value=value, status="ok")
        for index, value in found.items()
    ]


_INDEX = re.compile("[0-9]+")


def scores(samples: pd.DataFrame, *, approximate: bool) -> pd.DataFrame:
    """Win rate overall and by data set, length-controlled win rate overall: SCORE_COLUMNS and APPROXIMATE.

    A win rate is the mean of the rows that have a value, its standard error clustered by instruction: with one row each
    it is the package's. The length-controlled one is the mean of its rows, and `n` its verdicts.
    """
    wins, controlled = (samples[samples["metric"] == metric] for metric in (WIN_RATE, LENGTH_CONTROLLED))
    groups = [("overall", wins)]
    groups += [(str(name), wins[wins["category"] == name]) for name in wins["category"].unique() if name]
    rows = [(BENCHMARK, WIN_RATE, category, *_mean(group), *_counts(group), False) for category, group in groups]
    told = wins[wins["item"].isin(controlled["item"])]
    counts = _counts(told)[0], len(wins)
    rows.append((BENCHMARK, LENGTH_CONTROLLED, "overall", *_mean(controlled), *counts, approximate))
    frame = pd.DataFrame(rows, columns=[*SCORE_COLUMNS, APPROXIMATE])
    return frame.astype({"value": "Float64", "stderr": "Float64"})


def _mean(rows: pd.DataFrame) -> tuple[float | None, float | None]:
    """Mean and standard error of the rows that have a value."""
    scored = rows[rows["value"].notna()]
    if scored.empty:
        return None, None
    value, stderr = clustered_mean(scored["value"].to_numpy(dtype=float), scored["cluster"].tolist())
    clusters = scored["cluster"].nunique()
    return value, None if stderr is None else stderr * float(np.sqrt(clusters / (clusters - 1)))


def _counts(rows: pd.DataFrame) -> tuple[int, int]:
    """Scored rows, all rows."""
    return int(rows["value"].notna().sum()), len(rows)


def score_files(paths: Sequence[Path], lc_reference: Path | None = None) -> pd.DataFrame:
    """Scores of stored annotations: columns model, baseline, judge, SCORE_COLUMNS, APPROXIMATE; a block per model.

    Rows on the same instruction are repeats. An instruction of AlpacaEval's 805 without a row counts in `total`; in
    a file on other instructions (an index beyond those of the reference) only its own rows do.

    Raises:
        HarnessError: a file is broken or empty.
    """
    reference = lc_reference or STAND_IN
    official = read_reference(reference).difficulty.keys()
    blocks = []
    for (model, baseline, judge), rows in _groups(paths).items():
        pairs = _samples(rows, official)
        table = samples_frame([*pairs, *controlled_samples(pairs, reference)])
        block = scores(table, approximate=is_stand_in(reference))
        block.insert(0, "model", model)
        block.insert(1, "baseline", baseline)
        block.insert(2, "judge", judge)
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def audit_files(paths: Sequence[Path], references: Sequence[Path], lc_reference: Path | None = None) -> pd.DataFrame:
    """Rates audited by another judge's annotations of a random share of the same answers.

    The columns of `score_files` and more, two rows a model and rate: the rate audited (`audited` true, `judge` the live
    one), and by the reference's verdicts alone. `low` and `high` are 95 % bounds, `n_audited` the instructions on which
    both judges have a verdict, and `n_effective` the number that would tell as much without the live judge. A
    length-controlled rate has rows where it has a meaning, and CONTROLLED_FEWEST audited instructions.

    Raises:
        HarnessError: a file is broken or empty; a model has no verdicts of a reference, or of several, or on other
            answers, or on fewer than FEWEST instructions that both have judged.
    """
    where, lc_reference = ", ".join(map(str, references)), lc_reference or STAND_IN
    by_reference, blocks = _groups(references), []
    for (model, baseline, judge), annotations in _groups(paths).items():
        reference, labels = _reference(by_reference, model, baseline, where)
        _check_same_answers(annotations, labels, model)
        scored = [row for row in labels if row.preference is not None]
        live, theirs = (_judged_frame(rows, lc_reference) for rows in (annotations, scored))
        fewest = {WIN_RATE: FEWEST, LENGTH_CONTROLLED: CONTROLLED_FEWEST}
        audits = {metric: audit_metric(metric, live, theirs, least) for metric, least in fewest.items()}
        if audits[WIN_RATE].made is None:
            what = f"fewer than {FEWEST} instructions have a verdict of both judges on {model}"
            raise HarnessError(what, where=where, fix="An audit needs a random share of a hundred or so.")
        for metric, audit in audits.items():
            if (made := audit.made) is None:
                continue
            rows = audit.scores.assign(model=model, baseline=baseline, judge=[judge, reference], metric=metric)
            rows = rows.assign(audited=[True, False], n_audited=made.audited)
            rows["low"], rows["high"] = [made.low, made.reference_low], [made.high, made.reference_high]
            rows["n_effective"] = [made.effective, made.audited]
            rows[APPROXIMATE] = metric == LENGTH_CONTROLLED and is_stand_in(lc_reference)
            blocks.append(rows)
    numbers = dict.fromkeys(("low", "high", "n_effective"), "Float64")
    return pd.concat(blocks, ignore_index=True).astype({**numbers, "n_audited": "Int64"})


def _judged_frame(annotations: Sequence[Annotation], lc_reference: Path) -> pd.DataFrame:
    """The samples of one judge's annotations, and of no other instruction."""
    pairs = _samples(annotations, set())
    return samples_frame([*pairs, *controlled_samples(pairs, lc_reference)])


def _reference(
    groups: Mapping[tuple[str, str, str], list[Annotation]], model: str, baseline: str, where: str
) -> tuple[str, list[Annotation]]:
    """The judge that audits a model's win rate, and its annotations."""
    known = {j: rows for (m, b, j), rows in groups.items() if m == model and (b == baseline or not (b and baseline))}
    if len(known) != 1:
        judges = ", ".join(sorted(known)) or "no judge"
        raise HarnessError(
            f"holds verdicts of {judges} on {model} against {baseline or 'its baseline'}",
            where=where,
            fix="Give one reference judge's annotations of the same answers.",
        )
    return next(iter(known.items()))


def _check_same_answers(rows: Sequence[Annotation], labels: Sequence[Annotation], model: str) -> None:
    lengths = {row.index: row.length for row in rows}
    others = [row.index for row in labels if {None, row.length, lengths.get(row.index)} - {None, row.length}]
    if others:
        some = ", ".join(map(str, others[:_NAMED])) + (" ..." if len(others) > _NAMED else "")
        raise HarnessError(
            f"{len(others)} of the reference's verdicts on {model} are on answers of another length (index {some})",
            where="alpaca-eval",
            fix="An audit needs verdicts of both judges on the same answers.",
        )


def second_annotations(paths: Sequence[Path]) -> list[str]:
    """What to say of instructions that one judge has annotated more than once for one model; empty where none is."""
    found = []
    for (model, baseline, judge), rows in _groups(paths).items():
        counts = Counter(row.index for row in rows)
        if again := [index for index, count in counts.items() if count > 1]:
            some = ", ".join(map(str, again[:_NAMED])) + (" ..." if len(again) > _NAMED else "")
            found.append(
                f"{model} against {baseline or 'its baseline'}, judged by {judge or 'a judge without a name'}: "
                f"{len(again)} of {len(counts)} instructions are annotated more than once (index {some}); each of the "
                f"{len(rows)} annotations counts"
            )
    return found


def _groups(paths: Sequence[Path]) -> dict[tuple[str, str, str], list[Annotation]]:
    """The annotations by (model, baseline, judge)."""
    found: dict[tuple[str, str, str], list[Annotation]] = {}
    for path in dict.fromkeys(paths):
        for row in read_annotations(path):
            found.setdefault((row.model, row.baseline, row.judge), []).append(row)
    if not found:
        raise HarnessError("no annotations", where="alpaca-eval")
    return found


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
