"""The memory that a training takes on each of its devices, from shapes and settings alone: nothing is loaded.

All numbers are bytes. The peak of a training comes as the loss of a step's last micro-batch is computed: weights,
gradients of the micro-batches before, the optimiser's state, teachers, all that the backward pass will need, and the
logits of a chunk exist at once. `benchmarks/memory_model.py` holds this against what trainings take.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from harness.models.logprobs import CHUNK, ROWS
from harness.models.shape import Shape
from harness.train.job import TrainJob
from harness.train.settings import QUERIES, SAMPLED_AT_ONCE, OptimSettings, StepSettings
from harness.train.steps.kd import KDSettings

CPU_BASE, GPU_BASE = 0.45e9, 1.2e9
"""Of a process with torch and transformers; on a GPU the context of CUDA, its libraries' workspaces, and NCCL's."""
FRAGMENTS = 0.04
"""Share of a GPU's memory that its allocator cannot hand out, because free blocks are too small."""
_SINGLE, _HALF = 4, 2
"""Bytes of a float32 and of a bfloat16."""
_TEMPORARIES = 6
"""Tensors of a chunk's logits, in float32, that a loss works on at once."""


@dataclass(frozen=True)
class Footprint:
    """The peak on a device, in bytes by what takes them."""

    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """Their sum."""
        return sum(self.parts.values())


def size_of(dtype: str) -> int:
    """Bytes of a number."""
    return _HALF if dtype == "bfloat16" else _SINGLE


def on_device(parts: Mapping[str, float], on_gpu: bool) -> Footprint:
    """The footprint with what torch itself takes."""
    taken = sum(parts.values())
    return Footprint({**parts, "torch": GPU_BASE + FRAGMENTS * taken if on_gpu else CPU_BASE})


def training(job: TrainJob, student: Shape, teachers: Mapping[str, Shape], longest: int, *, on_gpu: bool) -> Footprint:
    """The peak of a training in each of its processes.

    `teachers` are those that run beside the student, by role; `longest` is the length of the longest conversation in
    tokens, as it is cut. With sharding, each process holds its part of every weight, gradient and state, and the whole
    of the layers that are at work.
    """
    settings, parallel = job.settings, job.parallel
    share = 1 / parallel.processes if parallel.sharding == "fsdp" else 1.0
    trained = student.adapters(settings.lora.rank) if settings.lora else student.parameters
    tokens = micro_tokens(settings, longest)
    kept = activations(student, settings, longest) * tokens + _outside_layers(student) * tokens
    kept += _attention_maps(student, teachers, settings, tokens, longest)
    work = max(_loss(student, teachers, settings, tokens, on_gpu), _layer_work(student, settings) * tokens)
    forward = max((_layer_work(shape, settings) * tokens for shape in teachers.values()), default=0.0)
    at_once = max(kept + work, forward, _answering(job, student, longest))
    offloaded, half_or_single = parallel.offload_teachers and on_gpu, size_of(settings.dtype)
    gradients = _SINGLE * trained * share
    if settings.batch_size <= settings.micro_rows * parallel.processes and settings.micro_batch_tokens is None:
        gradients = max(0.0, gradients - at_once)  # a single micro-batch: they take the place of what is used up
    parts = {
        "weights": _SINGLE * (student.parameters + (trained if settings.lora else 0)) * share,
        "gradients": gradients,
        "optimiser": 2 * _SINGLE * trained * share,
        "casts": _HALF * (student.parameters - student.matrix) if settings.dtype == "bfloat16" else 0.0,
        "teachers": 0.0 if offloaded else share * sum(s.weight_bytes(half_or_single) for s in teachers.values()),
        "activations": kept,
        "logits": at_once - kept,
        "gathered": _gathered(student, teachers, settings) if share < 1 else 0.0,
        "buckets": _SINGLE * trained if share == 1 and parallel.processes > 1 else 0.0,
    }
    return on_device({name: value for name, value in parts.items() if value}, on_gpu)


def _answering(job: TrainJob, student: Shape, longest: int) -> float:
    """Bytes of the student's own answers as it writes them, beside its weights; 0 where it writes none."""
    sampling = job.step.sampling(job.settings)
    if sampling is None:
        return 0.0
    rows = min(SAMPLED_AT_ONCE, sampling.every * job.settings.batch_size)
    parts = generating(student, job.settings.dtype, rows, longest, on_gpu=False).parts
    return sum(parts[name] for name in ("KV cache", "activations", "logits"))


def reward_training(settings: StepSettings, shape: Shape, longest: int, *, on_gpu: bool) -> Footprint:
    """The peak of a reward model's training: both answers of each pair at once, a row in place of the output matrix."""
    tokens, numbers = 2 * micro_tokens(settings, longest), shape.parameters - (0 if shape.tied else shape.matrix)
    kept = (activations(shape, settings, longest) + _outside_layers(shape)) * tokens
    parts = {
        "weights": _SINGLE * numbers,
        "gradients": _SINGLE * numbers,
        "optimiser": 2 * _SINGLE * numbers,
        "casts": _HALF * (numbers - shape.matrix) if settings.dtype == "bfloat16" else 0.0,
        "activations": kept + _layer_work(shape, settings) * tokens,
    }
    return on_device(parts, on_gpu)


def micro_tokens(settings: OptimSettings, longest: int) -> int:
    """Tokens of the largest micro-batch, padding included."""
    rows = min(settings.micro_rows, settings.batch_size)
    if settings.micro_batch_tokens is not None:
        return max(longest, min(settings.micro_batch_tokens, rows * longest))
    return rows * longest


@lru_cache(maxsize=1024)
def forward_pass(shape: Shape, dtype: str, tokens: int, devices: int = 1, *, on_gpu: bool) -> Footprint:
    """The peak of a pass over batches of `tokens` tokens without gradients, by a model that `devices` hold together."""
    size = size_of(dtype)
    positions = min(CHUNK, tokens)
    parts = {
        "weights": shape.weight_bytes(size) / devices,
        "activations": size * tokens * (6 * shape.width + _mlp(shape)) + _maps(shape, tokens) * tokens,
        "logits": positions * shape.vocab_size * (size + _SINGLE * 2),
    }
    return on_device(parts, on_gpu)


@lru_cache(maxsize=1024)
def generating(shape: Shape, dtype: str, rows: int, length: int, devices: int = 1, *, on_gpu: bool) -> Footprint:
    """The peak of `rows` conversations that are continued at once, to `length` tokens each at most."""
    size = size_of(dtype)
    parts = {
        "weights": shape.weight_bytes(size) / devices,
        "KV cache": size * 2 * shape.layers * shape.kv_width * rows * length / devices,
        "activations": (size * (6 * shape.width + _mlp(shape)) + _maps(shape, length)) * rows * length,
        "logits": rows * shape.vocab_size * (size + 2 * _SINGLE),
    }
    return on_device(parts, on_gpu)


def _mlp(shape: Shape) -> int:
    """Numbers of a token in an MLP: gate, activation, up, their product; in a mixture also what goes in and out."""
    return shape.per_token * (4 * shape.mlp_width + (3 * shape.width if shape.experts > 1 else 0))


def _maps(shape: Shape, longest: int) -> float:
    """Bytes of a token's rows of a layer's attention maps, where these exist whole: bounded scores, probabilities."""
    return 2 * _SINGLE * shape.heads * longest if shape.maps else 0.0


def activations(shape: Shape, settings: StepSettings, longest: int) -> float:
    """Bytes of a token that all layers keep for the backward pass; `longest` is the length of its conversation."""
    of_norms = shape.norms * (1 if settings.lora else 2)
    # Where maps exist whole, keys and values are repeated for the heads that share them.
    attention = 2 * (shape.attention_width + (shape.attention_width if shape.maps else shape.kv_width))
    layer: float = _SINGLE * ((of_norms + 2) * shape.width + attention + _mlp(shape))
    if settings.dtype == "bfloat16":
        # The residual stream and what norms keep stay in float32; autocast casts a norm's output for each matrix anew.
        layer = (_SINGLE * of_norms + _HALF * 5) * shape.width + _HALF * (attention + _mlp(shape))
    layer += _maps(shape, longest)
    if settings.gradient_checkpointing:
        return _SINGLE * shape.width * shape.layers + layer
    return layer * shape.layers


def _outside_layers(shape: Shape) -> float:
    """Bytes of a token for its embedding, the last norm, and the states and their gradients that the loss takes."""
    return _SINGLE * 5 * shape.width


def _layer_work(shape: Shape, settings: StepSettings) -> float:
    """Bytes of a token that a layer takes while it is computed, or its gradient is."""
    return size_of(settings.dtype) * (3 * shape.per_token * shape.mlp_width + 2 * shape.width)


def _loss(student: Shape, teachers: Mapping[str, Shape], settings: StepSettings, tokens: int, on_gpu: bool) -> float:
    """Bytes of the loss (`models.token_losses`): a chunk's logits, their gradient in float32, the output matrix's."""
    positions, size = min(CHUNK, tokens), size_of(settings.dtype)
    exact = positions if on_gpu else min(ROWS, positions)
    logits = positions * student.vocab_size * size * (2 if teachers else 1)
    cast = _HALF * student.matrix if settings.dtype == "bfloat16" else 0
    gradient = 0 if settings.lora else _SINGLE * student.matrix
    states = sum(size * tokens * teacher.width for teacher in teachers.values())
    return logits + cast + gradient + states + exact * student.vocab_size * _SINGLE * _TEMPORARIES


def _attention_maps(
    student: Shape, teachers: Mapping[str, Shape], settings: StepSettings, tokens: int, longest: int
) -> float:
    """Bytes of what the attention term keeps (`train.attention`): queries and keys of all layers, rows of maps."""
    if not isinstance(settings, KDSettings) or not settings.w_attn or not teachers:
        return 0.0
    size = size_of(settings.dtype)
    models = [*teachers.values(), *([student] if settings.gradient_checkpointing else [])]
    kept = sum(model.layers * (model.attention_width + model.kv_width) for model in models)
    return size * kept * tokens + _SINGLE * _TEMPORARIES * QUERIES * student.heads * longest


def _gathered(student: Shape, teachers: Mapping[str, Shape], settings: StepSettings) -> float:
    """Bytes of what a process holds whole while it is at work: two layers of a model, embedding and output matrix."""
    sizes = [(_SINGLE, student), *((size_of(settings.dtype), teacher) for teacher in teachers.values())]
    return max(size * (2 * shape.layer + (1 if shape.tied else 2) * shape.matrix) for size, shape in sizes)
