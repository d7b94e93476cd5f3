"""What a plan's stages compute, and the time that takes on a device: operations over a rate, and how sure that is.

Operations are counted as `train.flops` counts them, 2 for each weight that a token meets forward and 4 more backward,
without attention's products of positions. Decoding is counted by what it reads: all weights and the cache for each
token that a batch writes.
"""

import json
import math
from dataclasses import dataclass, field

from harness.bench.api import OpenJudged
from harness.models.shape import Shape
from harness.plan.amounts import ANSWER, CHARS_PER_TOKEN, amount
from harness.plan.devices import Device
from harness.plan.shapes import Shapes
from harness.stages import answer, benchmarks, respond, reward, targets, tokens, train
from harness.stages.api import Stage
from harness.stages.conversing import settings_of
from harness.stages.pinned import is_absent
from harness.train.footprint import size_of
from harness.train.job import TrainJob

_VLLM_ROWS = 256
"""Conversations that vLLM continues at once by default."""


@dataclass(frozen=True)
class Span:
    """Seconds."""

    least: float
    expected: float
    most: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.least + other.least, self.expected + other.expected, self.most + other.most)

    def __mul__(self, factor: float) -> "Span":
        return Span(self.least * factor, self.expected * factor, self.most * factor)


NOTHING = Span(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Work:
    """What a stage computes."""

    how: str
    """`training` or `pass`."""
    flops: float
    dtype: str
    devices: int = 1
    """That compute at the same time."""
    decoded: float = 0.0
    """Bytes that decoding reads."""


def span(work: Work, device: Device) -> Span | None:
    """The time of some work on a device; None where its rate is not known."""
    rate = device.rates.get(work.dtype)
    if not rate or (work.decoded and not device.bandwidth):
        return None
    devices = work.devices if device.on_gpu else 1
    ends = [work.flops / (rate * share * devices) for share in device.shares[work.how]]
    if work.decoded:
        read = [work.decoded / (device.bandwidth * share * devices) for share in device.shares["decode"]]
        ends = [a + b for a, b in zip(ends, read, strict=True)]
    most, expected, least = ends
    return Span(least, expected, most)


@dataclass(frozen=True)
class Works:
    """What the stages of a plan compute; the questions of a benchmark are counted once for all its models."""

    shapes: Shapes
    _asked: dict[str, "Asked | None"] = field(default_factory=dict)

    def of(self, stage: Stage) -> Work | None:
        """What a stage computes; None where that is not known, or no model is at work."""
        if stage.kind == answer.KIND.name:
            files = {role: made.id for role, made in stage.inputs.items() if role != "model"}
            key = json.dumps([stage.params["benchmark"], stage.execution["benchmark"], files])
            if key not in self._asked:
                self._asked[key] = _of_benchmark(stage)
            return _generation(stage, self.shapes, self._asked[key])
        return _work(stage, self.shapes)


def _work(stage: Stage, shapes: Shapes) -> Work | None:
    match stage.kind:
        case train.KIND.name:
            return _training(stage, shapes)
        case targets.KIND.name:
            shape, data = shapes.of(stage.inputs["teacher"], stage.params["part"]), stage.inputs["tokens"]
            size = amount(data.inputs["data"])
            count = size.rows * min(size.tokens, data.params["max_length"])
            return Work("pass", 2 * shape.active * count, stage.params["dtype"]) if shape else None
        case tokens.KIND.name:
            shape, size = shapes.of(stage.inputs["student"], stage.params["part"]), amount(stage.inputs["responses"])
            scoring, runs = stage.params["scoring"], 1 + len({"alone", "local"} & set(stage.params["passes"]))
            rows = min(size.rows, stage.params["prompts"] or math.inf)
            count = runs * rows * min(size.tokens, scoring["max_length"])
            return Work("pass", 2 * shape.active * count, scoring["dtype"]) if shape else None
        case reward.KIND.name if "model" in stage.inputs:
            shape, size = shapes.of(stage.inputs["model"], stage.params["part"]), amount(stage.inputs["responses"])
            count, dtype = size.rows * size.tokens, stage.params["reward"]["dtype"]
            return Work("pass", 2 * shape.active * count, dtype) if shape else None
        case respond.KIND.name:
            size, how = amount(stage.inputs["prompts"]), stage.params["responses"]
            asked = Asked(size.rows * how["candidates"], size.tokens, min(ANSWER, how["max_new_tokens"]))
            return _generation(stage, shapes, asked)
    return None


def _training(stage: Stage, shapes: Shapes) -> Work | None:
    job, start = TrainJob.restore(stage.params, stage.execution), train.student_of(stage)
    student = shapes.of(start.stage, start.part)
    teachers = {role: shapes.of(t.stage, t.part) for role, t in train.teachers_of(stage).items()}
    if student is None or None in teachers.values():
        return None
    settings, size = job.settings, amount(train.data_of(stage))
    rows = settings.max_steps * settings.batch_size if settings.max_steps else settings.epochs * size.rows
    trained = student.adapters(settings.lora.rank) if settings.lora else student.active
    per_token = (6.0 if settings.gradient_checkpointing else 4.0) * student.active + 2.0 * trained
    shares = domain_shares(stage)
    for role, shape in teachers.items():
        asked = sum(share for domain, share in shares.items() if job.step.asks(role, domain))
        per_token += 2 * asked * (shape.active if shape else 0)
    flops = per_token * rows * min(size.tokens, settings.max_length)
    return Work("training", flops, settings.dtype, job.parallel.processes)


def domain_shares(training: Stage) -> dict[str | None, float]:
    """The share of a training's rows by domain; None stands for general conversations."""
    mixed = dict(train.data_of(training).params["shares"]) if training.params["mix"] else {}
    return {None: 1 - sum(mixed.values()), **mixed}


def _generation(stage: Stage, shapes: Shapes, asked: "Asked | None") -> Work | None:
    shape = shapes.of(stage.inputs["model"], stage.params["part"])
    if shape is None or asked is None:
        return None
    settings = settings_of(stage.params, stage.execution)
    at_once = min(asked.turns, _VLLM_ROWS if settings.engine == "vllm" else settings.batch_size)
    size, steps = size_of(settings.dtype), asked.answer * math.ceil(asked.turns / max(at_once, 1))
    cache = at_once * (asked.prompt + asked.answer) * _cache(shape, size)
    flops = 2 * shape.active * asked.turns * (asked.prompt + asked.answer)
    return Work("pass", flops, settings.dtype, settings.tensor_parallel, steps * (size * shape.parameters + cache))


def _cache(shape: Shape, size: int) -> int:
    """Bytes of a token's keys and values."""
    return 2 * size * shape.layers * shape.kv_width


@dataclass(frozen=True)
class Asked:
    """What a model is asked to write."""

    turns: float
    """How many are answered."""
    prompt: float
    """Tokens of a turn's prompt, on average."""
    answer: float
    """Tokens of its answer."""


def _of_benchmark(stage: Stage) -> Asked | None:
    """What a benchmark asks; None where nobody knows its questions."""
    if any(is_absent(file) for role, file in stage.inputs.items() if role != "model"):
        return None
    bench = benchmarks.opened(stage)
    if not isinstance(bench, OpenJudged) or not bench.questions:
        return None
    questions = bench.questions
    turns = sum(len(question.turns) for question in questions)
    chars = sum(len(turn) for question in questions for turn in question.turns)
    answered = sum(min(ANSWER, question.max_new_tokens) for question in questions) / len(questions)
    return Asked(turns, chars / turns / CHARS_PER_TOKEN, answered)
