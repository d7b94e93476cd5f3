"""What is worth knowing of a run's judging: verdicts that failed, and why; verdicts that the benchmark's own tool would
read otherwise; answers that look like verdicts; verdicts that differ when asked again."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from harness.judge.api import Verdict
from harness.judge.injection import holds_verdict
from harness.judge.protocol import Protocol
from harness.record.judged import Judged
from harness.record.run import FailureRecord, JudgingRecord
from harness.stages import judge

_NAMED = 5
"""Cells, reasons or questions that a warning names."""
_WORDS = 160
"""Characters of a server's words that a reason keeps."""
_TITLES = {"cut": "cut at judge.max_tokens", "unparseable": "without a clear verdict"}
_SERVERS = ("refused", "failed")
"""Failures whose text is the server's; that of the others is the judge's."""


def judging(judged: Judged) -> Iterator[JudgingRecord]:
    """A row, where a model has judged."""
    if not judged.by_model or not judged.verdicts:
        return
    answers = [text for answer in judged.answers for text in answer.turns if text is not None]
    asked = judge.resolved(judged.stage.params, judged.stage.execution)
    repeats, repeat_sd = repeat_spread(judged.verdicts)
    otherwise, there_only = read_otherwise(judged.verdicts, asked.protocol)
    yield JudgingRecord(
        judged.cell,
        judged.benchmark,
        answers=len(answers),
        with_verdict_pattern=sum(map(holds_verdict, answers)),
        repeats=repeats,
        repeat_sd=repeat_sd,
        verdicts=len(judged.verdicts),
        failed=failures(judged.verdicts),
        read_otherwise=otherwise,
        read_there_only=there_only,
        judge=judged.panelist,
    )


def failures(verdicts: Sequence[Verdict]) -> tuple[FailureRecord, ...]:
    """The failed verdicts by reason, the commonest first.

    The words of a server are alike where only numbers differ; a judge's own reply is no reason beyond its status.
    """
    groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for v in verdicts:
        if v.reply.status not in ("ok", "missing"):
            groups[_reason(v.reply.status, v.reply.text[:_WORDS])].append(v)
    return tuple(
        FailureRecord(status, alike[0].reply.text[:_WORDS], len(alike), tuple(map(_which, alike)))
        for (status, _), alike in sorted(groups.items(), key=lambda group: -len(group[1]))
    )


def _reason(status: str, words: str) -> tuple[str, str]:
    return status, re.sub(r"\d+", "0", words) if status in _SERVERS else ""


def _which(verdict: Verdict) -> str:
    return f"{verdict.task.item}/{verdict.task.turn}{verdict.task.variant and f' ({verdict.task.variant})'}"


def read_otherwise(verdicts: Sequence[Verdict], protocol: Protocol) -> tuple[int | None, int | None]:
    """How many of the judge's replies the benchmark's own tool reads as another value, and how many of these have no
    value here; None where its reading is ours."""
    if protocol.upstream is None:
        return None, None
    replies = [v for v in verdicts if v.reply.status not in ("missing", *_SERVERS)]
    differ = [v for v in replies if protocol.upstream(v.reply.text) != v.reply.value]
    return len(differ), sum(v.reply.value is None for v in differ)


def repeat_spread(verdicts: Sequence[Verdict]) -> tuple[int, float | None]:
    """How often a judge was asked about one answer, and how much its verdicts differ: the root of the mean variance.

    The variance (ddof 1) is that of one answer's verdicts, averaged over the answers that have two or more; None where
    no answer has.
    """
    values: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.reply.value is not None:
            values[verdict.task.item, verdict.task.turn, verdict.task.variant].append(verdict.reply.value)
    variances = [np.var(alike, ddof=1) for alike in values.values() if len(alike) > 1]
    repeats = 1 + max((verdict.task.repeat for verdict in verdicts), default=0)
    return repeats, round(float(np.sqrt(np.mean(variances))), 4) if variances else None


def warnings(rows: Sequence[JudgingRecord]) -> list[str]:
    """What a reader of the report should know of them."""
    return [
        f"{', '.join(filter(None, of))}: {line}"
        for of in dict.fromkeys((row.benchmark, row.judge) for row in rows)
        for line in _warnings([row for row in rows if (row.benchmark, row.judge) == of])
    ]


def _warnings(rows: Sequence[JudgingRecord]) -> Iterator[str]:
    """Those of one judge on one benchmark."""
    yield from _failed(rows)
    yield from _otherwise(rows)
    if holding := [row for row in rows if row.with_verdict_pattern]:
        cells = "; ".join(f"{r.cell} ({r.with_verdict_pattern} of {r.answers})" for r in holding[:_NAMED])
        more = f" and {len(holding) - _NAMED} other cells" if len(holding) > _NAMED else ""
        count = sum(row.with_verdict_pattern for row in holding)
        yield (
            f"{count} answer{'s' * (count != 1)} contain{'s' * (count == 1)} a rating pattern such as "
            f"[[7]] or [[A]], which a judge may repeat as its verdict: {cells}{more}."
        )
    if spread := [row.repeat_sd for row in rows if row.repeat_sd is not None]:
        yield (
            f"asked {rows[0].repeats} times about the same answer, the judge's verdicts have a "
            f"standard deviation of {np.sqrt(np.mean(np.square(spread))):.2f}."
        )


def _failed(rows: Sequence[JudgingRecord]) -> Iterator[str]:
    """How many verdicts failed, and of each reason how many, in whose words, and on which questions of which cell."""
    failed = [(row.cell, failure) for row in rows for failure in row.failed]
    if not failed:
        return
    reasons: dict[tuple[str, str], list[tuple[str, FailureRecord]]] = defaultdict(list)
    for cell, failure in failed:
        reasons[_reason(failure.status, failure.words)].append((cell, failure))
    ranked = sorted(reasons.items(), key=lambda reason: -_count(reason[1]))
    parts = [f"{_count(alike)} {_TITLES.get(status, status)} ({_example(alike)})" for (status, _), alike in ranked]
    said = parts[:_NAMED]
    if rest := sum(_count(alike) for _, alike in ranked[_NAMED:]):
        said.append(f"{rest} for {len(ranked) - _NAMED} other reasons")
    total = sum(row.verdicts for row in rows)
    reasons_given = "; ".join(said)
    yield f"{_count(failed)} of {total} verdicts failed, and are asked for again by --rejudge only: {reasons_given}."


def _count(failed: Sequence[tuple[str, FailureRecord]]) -> int:
    return sum(failure.count for _, failure in failed)


def _example(failed: Sequence[tuple[str, FailureRecord]]) -> str:
    (cell, first), *_ = failed
    words = " ".join(first.words.split())
    return f"{', '.join(first.which[:_NAMED])} of {cell}, e.g. {words!r}"


def _otherwise(rows: Sequence[JudgingRecord]) -> Iterator[str]:
    count, alone = sum(row.read_otherwise or 0 for row in rows), sum(row.read_there_only or 0 for row in rows)
    if count:
        yield (
            f"FastChat's own parser would have read {count} of {sum(row.verdicts for row in rows)} verdicts otherwise, "
            f"{alone} of them in replies that hold no clear verdict here (it takes the first match, drafts in thoughts "
            "and cut replies included)."
        )
