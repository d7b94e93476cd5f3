"""What a plan will ask of judges, and what that will cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.bench.api import Question
from harness.core.canonical import digest
from harness.generate.api import Answer
from harness.judge.api import JudgeTask
from harness.judge.budget import Budget, Budgets, check_priced
from harness.judge.identity import Key, request_digest
from harness.judge.prices import Price, longest_reply, most_cost, price_of
from harness.plan.build import JudgedStages, Plan
from harness.stages import answer, benchmarks, judge
from harness.stages.pinned import is_absent
from harness.store.ledger import Ledger, Reply
from harness.store.store import Store

_CHARS_PER_TOKEN = 4
"""Of English text, under the tokenizers that judges have."""
_USUAL_ANSWER, _USUAL_REPLY = 300, 250
"""Tokens of a student's answer that is not there yet, and of a judge's reply where none of this judge is recorded."""


@dataclass(frozen=True)
class Estimate:
    """What one judge is still to be asked."""

    asked: judge.ResolvedJudge
    stages: frozenset[str]
    """Ids of its verdict stages."""
    verdicts: int
    """To be asked; what the ledger holds is not asked again."""
    calls: int
    """A protocol may need several for a verdict."""
    prompt_tokens: int
    """Expected, like `completion_tokens`."""
    completion_tokens: int
    most_usd: float | None
    """What a budget must hold to be enough for certain: a token for every byte of the prompts, every reply at its
    longest. Answers that are not there yet are taken at four characters for each of `max_new_tokens`."""
    spent_usd: float
    """What the recorded verdicts of these stages have cost."""

    @property
    def price(self) -> Price | None:
        """None where none is known."""
        return price_of(self.asked.settings)

    @property
    def usd(self) -> float | None:
        """Expected; None where no price is known."""
        return self.price.cost(self.prompt_tokens, self.completion_tokens) if self.price else None


def estimate(plan: Plan, store: Store) -> list[Estimate]:
    """One row per model judge, in the order of the plan, those with nothing left to ask among them.

    A benchmark whose files are not here (`stages.pinned.absent_allowed`) is left out.
    """
    groups: dict[str, tuple[judge.ResolvedJudge, dict[str, JudgedStages]]] = {}
    for _, _, judged in plan.judged:
        if "program" not in judged.verdicts.params["judge"] and not unknown(judged):
            asked = judge.resolved(judged.verdicts.params, judged.verdicts.execution)
            groups.setdefault(asked.digest, (asked, {}))[1][judged.verdicts.id] = judged
    return [_of_judge(asked, list(stages.values()), store) for asked, stages in groups.values()]


def unknown(judged: JudgedStages) -> bool:
    """Whether a benchmark's questions are not here, so that nothing is known of what its judge will be asked."""
    return any(is_absent(file) for role, file in judged.answers.inputs.items() if role != "model")


def _of_judge(asked: judge.ResolvedJudge, stages: Sequence[JudgedStages], store: Store) -> Estimate:
    """Equal requests are asked once; requests about answers that are not there yet are taken to differ."""
    done: dict[Key, JudgeTask] = {}
    known: dict[Key, JudgeTask] = {}
    awaited: list[JudgedStages] = []
    for judged in stages:
        if store.has(judged.verdicts.id):
            done |= _keyed(judge.read_tasks(store.path(judged.verdicts.id)))
        elif store.has(judged.answers.id):
            answers = answer.read(store.path(judged.answers.id))
            tasks = benchmarks.open_judged(judged.answers).tasks(answers)
            known |= _keyed(judge.repeated(tasks, asked.settings))
        else:
            awaited.append(judged)
    recorded, reply = _recorded(store, asked, done | known)
    rest = [task for key, task in known.items() if key not in recorded and key not in done]
    parts = [_sum_of(asked, rest, rest), *_awaited(asked, awaited)]
    verdicts, most = sum(p.verdicts for p in parts), [p.most_usd for p in parts if p.most_usd is not None]
    calls = (1 + len(asked.protocol.continuations)) * verdicts
    return Estimate(
        asked,
        frozenset(e.verdicts.id for e in stages),
        verdicts,
        calls,
        sum(p.prompt_tokens for p in parts),
        math.ceil(reply * calls),
        sum(most) if len(most) == len(parts) else None,
        sum(call.price_usd or 0.0 for call in recorded.values()),
    )


@dataclass(frozen=True)
class _Sum:
    """What some verdicts ask for together."""

    verdicts: int
    prompt_tokens: int
    most_usd: float | None

    def times(self, n: int) -> "_Sum":
        return _Sum(n * self.verdicts, n * self.prompt_tokens, None if self.most_usd is None else n * self.most_usd)


def _sum_of(asked: judge.ResolvedJudge, usual: Sequence[JudgeTask], longest: Sequence[JudgeTask]) -> _Sum:
    price = price_of(asked.settings)
    most = sum(most_cost(price, asked.settings, asked.protocol, t.messages) for t in longest) if price else None
    return _Sum(len(usual), sum(_prompt_tokens(asked, task) for task in usual), most)


def _awaited(asked: judge.ResolvedJudge, stages: Sequence[JudgedStages]) -> list[_Sum]:
    """Of answers that are not there yet; one benchmark asks the same of every cell, so it is added up once."""
    alike: dict[str, list[JudgedStages]] = {}
    for judged in stages:
        files = {role: stage.id for role, stage in judged.answers.inputs.items() if role != "model"}
        settings = {k: judged.answers.params[k] for k in ("benchmark", "benchmark_version", "settings")}
        alike.setdefault(digest([settings, files]), []).append(judged)
    found = []
    for judged, *others in alike.values():
        bench = benchmarks.open_judged(judged.answers)
        usual = bench.tasks([_made_up(q, min(_USUAL_ANSWER, q.max_new_tokens)) for q in bench.questions])
        longest = bench.tasks([_made_up(q, q.max_new_tokens) for q in bench.questions])
        usual, longest = (judge.repeated(tasks, asked.settings) for tasks in (usual, longest))
        found.append(_sum_of(asked, usual, longest).times(1 + len(others)))
    return found


def _recorded(
    store: Store, asked: judge.ResolvedJudge, keys: Mapping[Key, JudgeTask]
) -> tuple[dict[Key, Reply], float]:
    """What the ledger holds of these, and the usual length of this judge's replies in tokens."""
    usual: float = min(_USUAL_REPLY, longest_reply(asked.settings, asked.protocol))
    if not store.ledger.exists():
        return {}, usual
    with Ledger(store.ledger) as ledger:
        for cost in ledger.costs(asked.digest):
            usual = cost.completion_tokens / cost.calls if cost.completion_tokens else usual
        held = [ledger.recorded(digest, keys) for _, digest in sorted(asked.digests.items())]
        return {key: call for found in held for key, call in found.items()}, usual


def _keyed(tasks: Sequence[JudgeTask]) -> dict[Key, JudgeTask]:
    return {(request_digest(task), task.repeat): task for task in tasks}


def _made_up(question: Question, tokens: int) -> Answer:
    return Answer(question.id, ("abc " * tokens,) * len(question.turns))


def _prompt_tokens(asked: judge.ResolvedJudge, task: JudgeTask) -> int:
    """Expected, over all calls for one verdict."""
    characters = sum(len(message["content"]) for message in task.messages)
    return (1 + len(asked.protocol.continuations)) * math.ceil(characters / _CHARS_PER_TOKEN)


def in_words(rows: Sequence[Estimate]) -> list[str]:
    """One line per judge that is still to be asked."""
    return [_line(row) for row in rows if row.verdicts]


def _line(row: Estimate) -> str:
    tokens = f"about {row.prompt_tokens:,} + {row.completion_tokens:,} tokens"
    settings = row.asked.settings
    line = (
        f"judge {settings.model} ({row.asked.protocol.name}): {row.verdicts:,} verdicts, {row.calls:,} calls, {tokens}"
    )
    if settings.serve is not None:
        return f"{line}, served here"
    if row.price is None or row.most_usd is None:
        return f"{line}; no price is known for it, so what it costs is not estimated"
    return f"{line}; about ${row.usd:.2f}, at most ${row.most_usd:.2f} (list price of {row.price.as_of})"


def budgets(rows: Sequence[Estimate], limit: float | None) -> Budgets:
    """The limits of a run; with `limit`, on what all its judges together may cost, verdicts recorded before included.

    Raises:
        HarnessError: there is a limit, and the price of a judge that is still to be asked is not known.
    """
    if limit is None:
        return Budgets()
    for row in rows:
        if row.verdicts:
            check_priced(row.asked.settings, "--max-cost")
    return Budgets(Budget(limit, sum(row.spent_usd for row in rows), "--max-cost"))
