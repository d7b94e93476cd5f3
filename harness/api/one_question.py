"""One question to each judge of a rehearsal: the benchmarks opened, and a verdict on an answer of ours."""

import asyncio
from pathlib import Path

from harness.bench.api import JudgedBenchmark, OpenJudged
from harness.core.errors import HarnessError
from harness.core.settings import Named, Settings
from harness.generate.api import Answer
from harness.judge.settings import JudgeSettings
from harness.stages import benchmarks
from harness.stages.api import Stage
from harness.store.ledger import Ledger


def open_benchmark(chosen: Named[Settings]) -> object:
    """The benchmark, opened as its stages do, with its questions read.

    Raises:
        HarnessError: a file is missing, or of a version that the benchmark does not read.
    """
    pinned = benchmarks.pin(chosen.name, chosen.settings)
    opened = benchmarks.opened(Stage("", 0, pinned.params, pinned.files, pinned.execution))
    _ = opened.questions if isinstance(opened, OpenJudged) else opened.metrics
    return opened


def form_of(chosen: Named[Settings]) -> str | None:
    """What a model judge is asked for; None where the benchmark's program judges, or nobody."""
    bench = benchmarks.by_name(chosen.name)
    return bench.form(chosen.settings) if isinstance(bench, JudgedBenchmark) and bench.program is None else None


def ask_once(settings: JudgeSettings, chosen: Named[Settings], ledger: Path) -> None:
    """Ask a judge for one verdict, on an answer of ours to the benchmark's first question.

    Raises:
        HarnessError: it gives none.
    """
    from harness.judge import client
    from harness.judge.protocol import find_protocol

    opened = open_benchmark(chosen)
    assert isinstance(opened, OpenJudged), "a model judges answers"
    question, form = opened.questions[0], form_of(chosen)
    assert form is not None, "a model judges this benchmark"
    turns = len(question.turns)
    answer = Answer(question.id, ("I do not know.",) * turns, ("stop",) * turns, (4,) * turns)
    live = settings.model_copy(update={"batch": False, "retries": min(settings.retries, 1), "repeats": 1})
    protocol = find_protocol(form, settings.protocol)
    with Ledger(ledger) as replies:
        asked = client.ask(
            opened.tasks([answer])[:1], live, protocol, judge_digest=f"{live.model} {form}", ledger=replies,
            progress=lambda done, total, unit, **values: None,
        )  # fmt: skip
        reply = asyncio.run(asked)[0].reply
    if reply.status != "ok":
        what = f"the judge {settings.model} gives no verdict ({protocol.name}): {reply.status}, {reply.text[:200]}"
        raise HarnessError(what, where="judge", fix="Choose another judge or another judge.protocol.")
