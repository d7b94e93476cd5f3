"""A judge turns a benchmark's answers into verdicts: a snapshot of ledger rows, or a program's results."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench.audit import drawn
from harness.core.canonical import Json, digest
from harness.core.discover import used
from harness.core.lines import read_json, read_lines, write_json, write_lines
from harness.core.plugins import Plugin
from harness.core.settings import identity, restore
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.judge.identity import judge_digest
from harness.judge.profiles import check_profile, profile_of
from harness.judge.program import run_program
from harness.judge.protocol import Protocol, find_protocol
from harness.judge.rereading import reread
from harness.judge.settings import AuditSettings, DrawSettings, JudgeSettings, ServeSettings
from harness.stages import answer, benchmarks
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.store.ledger import Ledger, Reply

if TYPE_CHECKING:
    from harness.judge.server import Server


def program_stage(bench: benchmarks.PinnedBenchmark, answers: Stage) -> Stage:
    """The stage in which the benchmark's own program judges."""
    return _stage(bench, answers, {**bench.params, "judge": {"program": bench.name}}, None)


@dataclass(frozen=True)
class JudgeFields:
    """A model judge's share of a stage that asks it."""

    params: dict[str, Json]
    """The judge's identity, for the stage's `params["judge"]`."""
    execution: dict[str, Json]
    inputs: dict[str, Stage]
    """Its weights, where we serve it."""
    session: str
    plugins: Mapping[str, Plugin]
    """Where the form of verdict comes from a plug-in."""
    light: bool
    """A judge that we serve takes a job slot (and GPUs); a judge at an endpoint only waits for the network."""


def judge_fields(settings: JudgeSettings, form: str, prompts: str, served: PlannedModel | None) -> JudgeFields:
    """A model judge that is asked for a form of verdict with a set of prompts, at an endpoint or `served` here.

    Raises:
        HarnessError: such verdicts cannot be had from this judge in this way.
    """
    return _fields(settings, form, prompts, served, tuple(used("FORM", [form]).items()))


@cache
def _fields(
    settings: JudgeSettings,
    form: str,
    prompts: str,
    served: PlannedModel | None,
    plugins: tuple[tuple[str, Plugin], ...],
) -> JudgeFields:
    protocol = find_protocol(form, settings.protocol)
    check_profile(settings, protocol)
    params = identity(settings) | profile_of(settings).changes()
    params |= {"form": form, "protocol": protocol.name, "protocol_version": protocol.version, "prompts": prompts}
    params["part"] = served.part if served else ""
    for _, plugin in plugins:
        params["plugin"] = plugin.identity
    execution: dict[str, Json] = {"judge": settings.model_dump(mode="json")}
    if served is None:
        return JudgeFields(params, execution, {}, "", dict(plugins), light=True)
    execution["weights"] = served.stage.id
    session = f"judge/{served.stage.id}/{served.part}/{digest(identity(settings.serve) if settings.serve else {})}"
    return JudgeFields(params, execution, {"judge": served.stage}, session, dict(plugins), light=False)


def model_stage(
    bench: benchmarks.PinnedBenchmark,
    answers: Stage,
    settings: JudgeSettings,
    served: PlannedModel | None,
    gpus: int,
    audit: AuditSettings | None = None,
) -> Stage:
    """The stage in which a model judges a benchmark's answers: all, or those that an audit draws."""
    assert bench.form is not None, "a measured benchmark has no judge"
    judge = judge_fields(settings, bench.form, _prompt_set(bench), served)
    params = {**bench.params, "judge": judge.params}
    if audit is not None:
        params["audit"] = identity(audit.draw)
    return _stage(bench, answers, params, judge, gpus if served else 0)


def _prompt_set(bench: benchmarks.PinnedBenchmark) -> str:
    """The identity of the judge's prompts: their file's digest, or the benchmark's version."""
    file = bench.files.get("file:prompts")
    return file.id if file is not None else f"{bench.name}/{bench.params['benchmark_version']}"


def _stage(
    bench: benchmarks.PinnedBenchmark, answers: Stage, params: dict[str, Json], judge: JudgeFields | None, gpus: int = 0
) -> Stage:
    return Stage(
        kind=KIND.name,
        version=KIND.version,
        params=params,
        inputs={"answers": answers, **bench.files, **(judge.inputs if judge else {})},
        execution={**bench.execution, **(judge.execution if judge else {})},
        session=judge.session if judge else "",
        gpus=gpus,
        place="driver",
        light=judge is None or judge.light,
        plugins={**bench.plugins, **(judge.plugins if judge else {})},
        title=answers.title.replace("answers", "audit" if "audit" in params else "verdicts", 1),
    )


_REPLY = ("status", "value", "text", "model", "prompt_tokens", "completion_tokens", "price_usd", "latency_s")
_COLUMNS = ("item", "turn", "repeat", *_REPLY[:3], "prompt", *_REPLY[3:], "variant")
"""Of a row of verdicts.jsonl: the task's key and the reply, without the request."""
_AUDITED = "audited.json"


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts of a finished judge stage."""
    replies = ({name: row[name] for name in _REPLY} for row in read_lines(folder / "verdicts.jsonl"))
    return [Verdict(task, Reply(**reply)) for task, reply in zip(read_tasks(folder), replies, strict=True)]


def read_audited(folder: Path) -> frozenset[str]:
    """The ids of the questions that a finished judge stage audited."""
    return frozenset(read_json(folder / _AUDITED))


def _row(verdict: Verdict) -> dict[str, Json]:
    values = vars(verdict.task) | vars(verdict.reply)
    return {name: values[name] for name in _COLUMNS}


def read_tasks(folder: Path) -> list[JudgeTask]:
    """The tasks of a finished judge stage, in the order of its verdicts."""
    rows = read_lines(folder / "tasks.jsonl")
    return [JudgeTask(**{**row, "messages": tuple(row["messages"])}) for row in rows]


def tasks_of(about: Context | Stage, answers: Sequence[Answer]) -> list[JudgeTask]:
    """The tasks of a judge stage, planned or running: on all answers, or on those to the questions that it audits."""
    tasks = benchmarks.open_judged(about).tasks(answers)
    questions = audited_questions(about)
    return tasks if questions is None else [task for task in tasks if task.item in questions]


def audited_questions(about: Context | Stage) -> frozenset[str] | None:
    """The ids of the questions that a judge stage audits; None where it judges all."""
    if "audit" not in about.params:
        return None
    return frozenset(drawn(benchmarks.open_judged(about).questions, restore(DrawSettings, about.params["audit"])))


def _run(ctx: Context) -> None:
    tasks = tasks_of(ctx, answer.read(ctx.inputs["answers"]))
    if "program" in ctx.params["judge"]:
        bench = benchmarks.judged(ctx.params["benchmark"])
        assert bench.program is not None, "planned as a program judge"
        verdicts = run_program(bench.program, tasks, model=f"program:{bench.name}")
    else:
        asked = resolved(ctx.params, ctx.execution)
        tasks = repeated(tasks, asked.settings)
        verdicts = ask(ctx, tasks, asked)
    if (questions := audited_questions(ctx)) is not None:
        write_json(ctx.out / _AUDITED, sorted(questions))
    write_lines(ctx.out / "tasks.jsonl", (asdict(task) for task in tasks))
    write_lines(ctx.out / "verdicts.jsonl", map(_row, verdicts))


@dataclass(frozen=True)
class ResolvedJudge:
    """The model judge of a stage."""

    settings: JudgeSettings
    protocol: Protocol
    digests: Mapping[int, str]
    """Its part of the ledger's key, by version of the protocol: today's, and those whose replies are read anew."""

    @property
    def digest(self) -> str:
        """Today's."""
        return self.digests[self.protocol.version]


def resolved(params: Mapping[str, Json], execution: Mapping[str, Json]) -> ResolvedJudge:
    """The model judge of a stage, planned or running."""
    settings = restore(JudgeSettings, execution["judge"])
    protocol = find_protocol(params["judge"]["form"], settings.protocol)
    prompts, weights = params["judge"]["prompts"], execution.get("weights")
    versions = [replace(protocol, version=version) for version in (protocol.version, *protocol.rereads)]
    plugin = params["judge"].get("plugin")
    digests = {v.version: judge_digest(settings, v, prompts=prompts, weights=weights, plugin=plugin) for v in versions}
    return ResolvedJudge(settings, protocol, digests)


def repeated(tasks: Sequence[JudgeTask], settings: JudgeSettings) -> list[JudgeTask]:
    """Each task as often as the settings want a verdict on it."""
    return [replace(task, repeat=k) for task in tasks for k in range(settings.repeats)]


def ask(ctx: Context, tasks: list[JudgeTask], asked: ResolvedJudge) -> list[Verdict]:
    """The model judge's verdicts on `tasks`; a judge that we serve is started when a verdict is not recorded yet."""
    from harness.judge import client  # its library takes a second to import

    with Ledger(ctx.store.ledger) as ledger:
        reread(tasks, asked.settings, asked.protocol, asked.digests, ledger)
        server = None
        if asked.settings.serve is not None and client.unrecorded(tasks, asked.digest, ledger):
            server = _server(ctx, asked.settings.serve)
        return asyncio.run(
            client.ask(
                tasks,
                asked.settings,
                asked.protocol,
                judge_digest=asked.digest,
                ledger=ledger,
                progress=ctx.progress,
                base_url=server.base_url if server else None,
                key=server.api_key if server else None,
                budgets=ctx.session.budgets,
            )
        )


def _server(ctx: Context, settings: ServeSettings) -> "Server":
    """The judge's server: started when first needed, shared by the session, stopped at its end."""
    from harness.judge.server import serve

    folder = ctx.inputs["judge"] / ctx.params["judge"]["part"]
    log = ctx.store.root / "logs" / f"judge-{ctx.id[:12]}.log"
    return ctx.session.get("server", lambda: serve(folder, settings, log, ctx.session.gpus))


KIND = Kind("judge", 3, _run)
