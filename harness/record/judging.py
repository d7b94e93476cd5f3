"""What is worth knowing of a run's judging: verdicts that failed, and why; verdicts that the benchmark's own tool would
read otherwise; answers that look like verdicts; verdicts that differ when asked again."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from harness.core.canonical import Json
from harness.judge.api import Verdict
from harness.judge.injection import holds_verdict
from harness.judge.protocol import Protocol
from harness.plan.build import Plan
from harness.stages import answer, judge
from harness.store.store import Store

_NAMED = 5
"""Cells, reasons or questions that a warning names."""
_WORDS = 160
"""Characters of a server's words that a reason keeps."""
_TITLES = {"cut": "cut at judge.max_tokens", "unparseable": "without a clear verdict"}
_OWN_WORDS = ("refused", "failed")
"""Failures whose text is the server's; that of the others is the judge's."""


def judging(plan: Plan, store: Store) -> list[Json]:
    """One row per judged (cell, benchmark): answers, those that hold a verdict pattern, the spread between repeats,
    how many verdicts there are, those that failed, and those that the benchmark's own tool reads otherwise."""
    rows = []
    for cell, evaluated, judged in plan.judged:
        if "program" in judged.verdicts.params["judge"] or not store.has(judged.verdicts.id):
            continue
        answers = [t for a in answer.read(store.path(judged.answers.id)) for t in a.turns if t is not None]
        verdicts = judge.read_verdicts(store.path(judged.verdicts.id))
        row = {"cell": cell.name, "benchmark": evaluated.benchmark, "answers": len(answers)}
        asked = judge.resolved(judged.verdicts.params, judged.verdicts.execution)
        row |= {"with_verdict_pattern": sum(map(holds_verdict, answers))} | repeat_spread(verdicts)
        rows.append(
            row | {"verdicts": len(verdicts), "failed": failures(verdicts)} | otherwise(verdicts, asked.protocol)
        )
    return rows


def failures(verdicts: Sequence[Verdict]) -> list[Json]:
    """The failed verdicts by reason, the commonest first: `status`, `words` (an example), `count`, `which`.

    The words of a server are alike where only numbers differ; a judge's own reply is no reason beyond its status.
    """
    groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for v in verdicts:
        status, text = v.reply.status, v.reply.text
        if status not in ("ok", "missing"):
            groups[status, re.sub(r"\d+", "0", text[:_WORDS]) if status in _OWN_WORDS else ""].append(v)
    return [
        {
            "status": status,
            "words": own[0].reply.text[:_WORDS],
            "count": len(own),
            "which": [f"{v.task.item}/{v.task.turn}{v.task.variant and f' ({v.task.variant})'}" for v in own],
        }
        for (status, _), own in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def otherwise(verdicts: Sequence[Verdict], protocol: Protocol) -> dict[str, Json]:
    """How many of the judge's replies the benchmark's own tool reads as another value (`read_otherwise`), and how many
    of these have none here (`read_there_only`); {} where its reading is ours."""
    if protocol.upstream is None:
        return {}
    replies = [v for v in verdicts if v.reply.status not in ("missing", *_OWN_WORDS)]
    differ = [v for v in replies if protocol.upstream(v.reply.text) != v.reply.value]
    return {"read_otherwise": len(differ), "read_there_only": sum(v.reply.value is None for v in differ)}


def repeat_spread(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    """How much verdicts on the same answer differ: `repeats`, and `repeat_sd`, the square root of the mean variance.

    The variance (ddof 1) is that of one answer's verdicts, averaged over the answers that have two or more; None where
    there is none.
    """
    values: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.reply.value is not None:
            values[verdict.task.item, verdict.task.turn, verdict.task.variant].append(verdict.reply.value)
    variances = [np.var(own, ddof=1) for own in values.values() if len(own) > 1]
    return {
        "repeats": 1 + max((verdict.task.repeat for verdict in verdicts), default=0),
        "repeat_sd": round(float(np.sqrt(np.mean(variances))), 4) if variances else None,
    }


def warnings(rows: Sequence[Json]) -> list[str]:
    """What a reader of the report should know of them."""
    found = []
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        own = [row for row in rows if row["benchmark"] == benchmark]
        found += [f"{benchmark}: {line}" for line in (*_failed(own), *_otherwise(own))]
        if some := [row for row in own if row["with_verdict_pattern"]]:
            cells = "; ".join(f"{r['cell']} ({r['with_verdict_pattern']} of {r['answers']})" for r in some[:_NAMED])
            more = f" and {len(some) - _NAMED} other cells" if len(some) > _NAMED else ""
            count = sum(row["with_verdict_pattern"] for row in some)
            found.append(
                f"{benchmark}: {count} answer{'s' * (count != 1)} contain{'s' * (count == 1)} a rating pattern such as "
                f"[[7]] or [[A]], which a judge may repeat as its verdict: {cells}{more}."
            )
        if spread := [row["repeat_sd"] for row in own if row["repeat_sd"] is not None]:
            found.append(
                f"{benchmark}: asked {own[0]['repeats']} times about the same answer, the judge's verdicts have a "
                f"standard deviation of {np.sqrt(np.mean(np.square(spread))):.2f}."
            )
    return found


def _failed(rows: Sequence[Json]) -> list[str]:
    """How many verdicts failed, and of each reason how many, in whose words, and on which questions of which cell."""
    found = [(row["cell"], one) for row in rows for one in row["failed"]]
    if not found:
        return []
    reasons: dict[tuple[str, str], list[tuple[str, Json]]] = defaultdict(list)
    for cell, one in found:
        words = re.sub(r"\d+", "0", one["words"]) if one["status"] in _OWN_WORDS else ""
        reasons[one["status"], words].append((cell, one))
    ranked = sorted(reasons.items(), key=lambda reason: -_count(reason[1]))
    parts = [f"{_count(own)} {_TITLES.get(status, status)} ({_example(own)})" for (status, _), own in ranked[:_NAMED]]
    if rest := sum(_count(own) for _, own in ranked[_NAMED:]):
        parts.append(f"{rest} for {len(ranked) - _NAMED} other reasons")
    total = sum(row["verdicts"] for row in rows)
    said = "; ".join(parts)
    return [f"{_count(found)} of {total} verdicts failed, and are asked for again by --rejudge only: {said}."]


def _count(found: Sequence[tuple[str, Json]]) -> int:
    return sum(one["count"] for _, one in found)


def _example(found: Sequence[tuple[str, Json]]) -> str:
    (cell, first), *_ = found
    words = " ".join(first["words"].split())
    return f"{', '.join(first['which'][:_NAMED])} of {cell}, e.g. {words!r}"


def _otherwise(rows: Sequence[Json]) -> list[str]:
    count, alone = (sum(row.get(key, 0) for row in rows) for key in ("read_otherwise", "read_there_only"))
    if not count:
        return []
    total = sum(row["verdicts"] for row in rows)
    return [
        f"FastChat's own parser would have read {count} of {total} verdicts otherwise, {alone} of them in replies that "
        "hold no clear verdict here (it takes the first match, drafts in thoughts and cut replies included)."
    ]
