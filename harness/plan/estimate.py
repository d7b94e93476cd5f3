"""How many calls a plan will make to judges, and what these will cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.bench.api import Question
from harness.core.canonical import canonical, digest
from harness.generate.api import Answer
from harness.judge.api import JudgeTask
from harness.judge.budget import Budget, Budgets, check_priced
from harness.judge.identity import Key, request_digest
from harness.judge.prices import Price, longest_reply, most_cost, price_of
from harness.plan.amounts import ANSWER, CHARS_PER_TOKEN
from harness.plan.build import JudgedStages, Plan
from harness.stages import answer, benchmarks, judge
from harness.stages.pinned import is_absent
from harness.store.ledger import Ledger, Reply
from harness.store.store import Store

_USUAL_REPLY = 250
"""Tokens assumed of a judge's reply if the ledger has no reply of this judge."""


@dataclass(frozen=True)
class Estimate:
    """The calls that a judge is still to answer."""

    asked: judge.ResolvedJudge
    stages: frozenset[str]
    """Ids of its verdict stages."""
    verdicts: int
    """Verdicts that the ledger does not hold yet."""
    calls: int
    """A protocol may need several calls for a verdict."""
    prompt_tokens: int
    """Expected, like `completion_tokens`."""
    completion_tokens: int
    most_usd: float | None
    """A budget that is certainly enough: a token for every byte of the prompts, every reply at its longest. An answer
    that is not generated yet counts four characters for each of `max_new_tokens`. None where no price is known."""
    spent_usd: float
    """The cost of these stages' recorded verdicts."""

    @property
    def price(self) -> Price | None:
        """The judge's list price; None where it is not known."""
        return price_of(self.asked.settings)

    @property
    def usd(self) -> float | None:
        """The expected cost; None where no price is known."""
        return self.price.cost(self.prompt_tokens, self.completion_tokens) if self.price else None


def estimate(plan: Plan, store: Store) -> list[Estimate]:
    """A row per model judge, in the order of the plan, also for judges with no calls left to make.

    A benchmark whose files are not here (`stages.pinned.absent_allowed`) is left out.
    """
    judges: dict[bytes, judge.ResolvedJudge] = {}
    groups: dict[str, tuple[judge.ResolvedJudge, dict[str, JudgedStages]]] = {}
    for judged in _asked(plan):
        params, execution = judged.verdicts.params, judged.verdicts.execution
        if "program" in params["judge"] or unknown(judged):
            continue
        key = canonical([params["judge"], execution["judge"], execution.get("weights")])
        if key not in judges:
            judges[key] = judge.resolved(params, execution)
        groups.setdefault(judges[key].digest, (judges[key], {}))[1][judged.verdicts.id] = judged
    return [_of_judge(resolved, list(stages.values()), store) for resolved, stages in groups.values()]


def _asked(plan: Plan) -> Iterator[JudgedStages]:
    """The stages of each judge, and those of the judges that audit them."""
    for _, _, judged in plan.judged:
        yield judged
        if judged.audit is not None:
            yield JudgedStages(judged.answers, judged.audit)


def unknown(judged: JudgedStages) -> bool:
    """Whether a benchmark's files are not here, so that the requests to its judge are not known."""
    return any(is_absent(file) for role, file in judged.answers.inputs.items() if role != "model")


def _of_judge(resolved: judge.ResolvedJudge, stages: Sequence[JudgedStages], store: Store) -> Estimate:
    """The estimate of a judge: equal requests count once; requests about answers to come are assumed to differ."""
    done: dict[Key, JudgeTask] = {}
    known: dict[Key, JudgeTask] = {}
    awaited: list[JudgedStages] = []
    for judged in stages:
        if store.has(judged.verdicts.id):
            done |= _keyed(judge.read_tasks(store.path(judged.verdicts.id)))
        elif store.has(judged.answers.id):
            answers = answer.read(store.path(judged.answers.id))
            tasks = judge.tasks_of(judged.verdicts, answers)
            known |= _keyed(judge.repeated(tasks, resolved.settings))
        else:
            awaited.append(judged)
    recorded, reply = _recorded(store, resolved, done | known)
    rest = [task for key, task in known.items() if key not in recorded and key not in done]
    parts = [_sum_of(resolved, rest, rest), *_awaited(resolved, awaited)]
    verdicts, most = sum(p.verdicts for p in parts), [p.most_usd for p in parts if p.most_usd is not None]
    calls = (1 + len(resolved.protocol.continuations)) * verdicts
    return Estimate(
        resolved,
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
    """The sums over some verdicts."""

    verdicts: int
    prompt_tokens: int
    most_usd: float | None

    def times(self, n: int) -> "_Sum":
        return _Sum(n * self.verdicts, n * self.prompt_tokens, None if self.most_usd is None else n * self.most_usd)


def _sum_of(resolved: judge.ResolvedJudge, usual: Sequence[JudgeTask], longest: Sequence[JudgeTask]) -> _Sum:
    price = price_of(resolved.settings)
    most = sum(most_cost(price, resolved.settings, resolved.protocol, t.messages) for t in longest) if price else None
    return _Sum(len(usual), sum(_prompt_tokens(resolved, task) for task in usual), most)


def _awaited(resolved: judge.ResolvedJudge, stages: Sequence[JudgedStages]) -> list[_Sum]:
    """The sums for answers to come: a benchmark's are equal for all cells, so its requests are added up once."""
    alike: dict[str, list[JudgedStages]] = {}
    for judged in stages:
        files = {role: stage.id for role, stage in judged.answers.inputs.items() if role != "model"}
        settings = {k: judged.answers.params[k] for k in ("benchmark", "benchmark_version", "settings")}
        draw = judged.verdicts.params.get("audit")
        alike.setdefault(digest([settings, files, draw]), []).append(judged)
    sums = []
    for judged, *others in alike.values():
        questions = benchmarks.open_judged(judged.answers).questions
        short = [_made_up(q, min(ANSWER, q.max_new_tokens)) for q in questions]
        long = [_made_up(q, q.max_new_tokens) for q in questions]
        usual, longest = (judge.tasks_of(judged.verdicts, answers) for answers in (short, long))
        usual, longest = (judge.repeated(tasks, resolved.settings) for tasks in (usual, longest))
        sums.append(_sum_of(resolved, usual, longest).times(1 + len(others)))
    return sums


def _recorded(
    store: Store, resolved: judge.ResolvedJudge, keys: Mapping[Key, JudgeTask]
) -> tuple[dict[Key, Reply], float]:
    """The ledger's replies for these keys, and the usual length of this judge's replies in tokens."""
    usual: float = min(_USUAL_REPLY, longest_reply(resolved.settings, resolved.protocol))
    if not store.ledger.exists():
        return {}, usual
    with Ledger(store.ledger) as ledger:
        for cost in ledger.costs(resolved.digest):
            usual = cost.completion_tokens / cost.calls if cost.completion_tokens else usual
        recorded = [ledger.recorded(digest, keys) for _, digest in sorted(resolved.digests.items())]
        return {key: call for calls in recorded for key, call in calls.items()}, usual


def _keyed(tasks: Sequence[JudgeTask]) -> dict[Key, JudgeTask]:
    return {(request_digest(task), task.repeat): task for task in tasks}


def _made_up(question: Question, tokens: int) -> Answer:
    return Answer(question.id, ("abc " * tokens,) * len(question.turns))


def _prompt_tokens(resolved: judge.ResolvedJudge, task: JudgeTask) -> int:
    """The expected tokens of all calls for a verdict."""
    characters = sum(len(message["content"]) for message in task.messages)
    return (1 + len(resolved.protocol.continuations)) * math.ceil(characters / CHARS_PER_TOKEN)


def in_words(rows: Sequence[Estimate]) -> list[str]:
    """A line per judge that still has calls to answer."""
    return [_line(row) for row in rows if row.verdicts]


def _line(row: Estimate) -> str:
    tokens = f"about {row.prompt_tokens:,} + {row.completion_tokens:,} tokens"
    settings = row.asked.settings
    calls = f"{row.calls:,} calls{' in batches' if settings.batch else ''}"
    line = f"judge {settings.model} ({row.asked.protocol.name}): {row.verdicts:,} verdicts, {calls}, {tokens}"
    if settings.serve is not None:
        return f"{line}, served here"
    if row.price is None or row.most_usd is None:
        return f"{line}; no price is known for it, so its cost is not estimated"
    return f"{line}; about ${row.usd:.2f}, at most ${row.most_usd:.2f} (list price of {row.price.as_of})"


def budgets(rows: Sequence[Estimate], limit: float | None) -> Budgets:
    """The limits of a run: with `limit`, one on the cost of all its judges together, recorded verdicts included.

    Raises:
        HarnessError: there is a limit, and the price of a judge that still has calls to answer is not known.
    """
    if limit is None:
        return Budgets()
    for row in rows:
        if row.verdicts:
            check_priced(row.asked.settings, "--max-cost")
    return Budgets(Budget(limit, sum(row.spent_usd for row in rows), "--max-cost"))
