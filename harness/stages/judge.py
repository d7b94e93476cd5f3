"""A judge turns a benchmark's answers into verdicts: a snapshot of ledger rows, or a program's results."""

import json
from dataclasses import asdict
from pathlib import Path

from harness.core.canonical import Json, digest
from harness.core.lines import read_lines, write_lines
from harness.core.settings import identity
from harness.judge.api import JudgeTask, Verdict
from harness.judge.client import ask_blocking, unrecorded
from harness.judge.identity import judge_digest
from harness.judge.program import run_program
from harness.judge.protocol import find_protocol
from harness.judge.server import Server, serve
from harness.judge.settings import JudgeSettings, ServeSettings
from harness.stages import answer
from harness.stages import benchmark as glue
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import Weights
from harness.store.ledger import Ledger


def program_stage(bench: glue.Asked, answers: Stage) -> Stage:
    """The stage in which the benchmark's own program judges."""
    params = {**bench.params, "judge": {"program": bench.name}}
    return _stage(bench, answers, params, {}, light=True)


def model_stage(bench: glue.Asked, answers: Stage, settings: JudgeSettings, served: Weights | None, gpus: int) -> Stage:
    """The stage in which a model judges: at an endpoint, or `served` here.

    A judge that we serve takes a job slot (and GPUs); one at an endpoint only waits for the network.
    """
    protocol = find_protocol(bench.form, settings.protocol)
    judge: dict[str, Json] = identity(settings) | {
        "form": bench.form,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "prompts": _prompt_set(bench),
        "part": served.part if served else "",
    }
    params = {**bench.params, "judge": judge}
    execution: dict[str, Json] = {"judge": settings.model_dump(mode="json")}
    if served is None:
        return _stage(bench, answers, params, execution, light=True)
    execution["weights"] = served.stage.id
    session = f"judge/{served.stage.id}/{served.part}/{digest(identity(settings.serve) if settings.serve else {})}"
    return _stage(bench, answers, params, execution, light=False, served=served, session=session, gpus=gpus)


def _prompt_set(bench: glue.Asked) -> str:
    """What the judge's prompts are known by: their file's digest, or the benchmark's version."""
    file = bench.files.get("file:prompts")
    return file.id if file is not None else f"{bench.name}/{bench.params['benchmark_version']}"


def _stage(
    bench: glue.Asked,
    answers: Stage,
    params: dict[str, Json],
    execution: dict[str, Json],
    *,
    light: bool,
    served: Weights | None = None,
    session: str = "",
    gpus: int = 0,
) -> Stage:
    weights = {"judge": served.stage} if served is not None else {}
    return Stage(
        kind=KIND.name,
        version=KIND.version,
        params=params,
        inputs={"answers": answers, **bench.files, **weights},
        execution={**bench.execution, **execution},
        session=session,
        gpus=gpus,
        place="driver",
        light=light,
        title=answers.title.replace("answers", "verdicts", 1),
    )


def describe(stage: Stage) -> dict[str, Json]:
    """What a report says of the judge behind a verdict stage.

    `calibrated` is true only of a judge that needs no calibration (a program) until a calibration says more.
    """
    judge = stage.params["judge"]
    if "program" in judge:
        name = f"program:{judge['program']}"
        return {"judge": name, "protocol": "program", "calibrated": True, "note": "checked by a program"}
    note = "no calibration on record: compare rows with each other, not with published scores"
    return {"judge": judge["model"], "protocol": judge["protocol"], "calibrated": False, "note": note}


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts of a finished judge stage."""
    return [Verdict(**row) for row in read_lines(folder / "verdicts.jsonl")]


def read_tasks(folder: Path) -> list[JudgeTask]:
    """What the judge was asked."""
    rows = read_lines(folder / "tasks.jsonl")
    return [JudgeTask(**{**row, "messages": tuple(row["messages"])}) for row in rows]


def _run(ctx: Context) -> None:
    bench, settings, files = glue.of(ctx)
    questions = bench.questions(settings, files)
    tasks = bench.tasks(settings, files, questions, answer.read(ctx.inputs["answers"]))
    if "program" in ctx.params["judge"]:
        assert bench.program is not None, "planned as a program judge"
        verdicts = run_program(bench.program, tasks, model=f"program:{bench.name}")
    else:
        verdicts = _ask_model(ctx, tasks)
    write_lines(ctx.out / "tasks.jsonl", (asdict(task) for task in tasks))
    write_lines(ctx.out / "verdicts.jsonl", (asdict(verdict) for verdict in verdicts))


def _ask_model(ctx: Context, tasks: list[JudgeTask]) -> list[Verdict]:
    settings = JudgeSettings.model_validate_json(json.dumps(ctx.execution["judge"]))
    asked = ctx.params["judge"]
    protocol = find_protocol(asked["form"], settings.protocol)
    judge = judge_digest(settings, protocol, prompts=asked["prompts"], weights=ctx.execution.get("weights"))
    with Ledger(ctx.store.ledger) as ledger:
        server = None
        if settings.serve is not None and unrecorded(tasks, judge, ledger):
            server = _server(ctx, settings.serve)
        return ask_blocking(
            tasks,
            settings,
            protocol,
            judge_digest=judge,
            ledger=ledger,
            progress=ctx.progress,
            base_url=server.base_url if server else None,
            api_key=server.api_key if server else None,
        )


def _server(ctx: Context, settings: ServeSettings) -> Server:
    """The judge's server: started when first needed, shared by the session, stopped at its end."""
    folder = ctx.inputs["judge"] / ctx.params["judge"]["part"]
    log = ctx.store.root / "logs" / f"judge-{ctx.id[:12]}.log"
    return ctx.session.get("server", lambda: serve(folder, settings, log, ctx.session.gpus))


KIND = Kind("judge", 2, _run)
