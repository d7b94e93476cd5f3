"""What a run will take: memory of each device, GPU-hours and their price, gigabytes of the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.machine import gpu_names
from harness.plan.amounts import amount
from harness.plan.build import Plan
from harness.plan.devices import Device, device
from harness.plan.fit import Fit, check, fits, gigabytes, on_disk, refusal
from harness.plan.shapes import Shapes
from harness.plan.timing import Timing, expected, known, recorded, timing, with_model
from harness.plan.work import NOTHING, Span, Works, span
from harness.recipe.schema import ResourceSettings
from harness.stages import dataset
from harness.stages.api import Stage
from harness.store.store import Store

HOUR = 3600.0


@dataclass(frozen=True)
class Prospect:
    """What the stages that are still to run will take."""

    device: Device
    resources: ResourceSettings
    timing: Timing
    gpu: Span
    """Seconds of GPUs: each stage's, by the GPUs that it holds."""
    by_rate: int
    """Stages whose time follows from what they compute, not from like stages."""
    fits: Sequence[Fit]
    kept: float
    """Bytes that models and stored targets will take."""
    beside: float
    """Bytes of the largest step checkpoints, while a training runs."""
    assumptions: Sequence[str]

    @property
    def gpu_hours(self) -> Span:
        """At least, expected, at most."""
        return self.gpu * (1 / HOUR)

    @property
    def gpu_usd(self) -> float | None:
        """The expected price of the GPU-hours; None without `resources.usd_per_gpu_hour`."""
        price = self.resources.usd_per_gpu_hour
        return None if price is None else price * self.gpu_hours.expected

    @property
    def peaks(self) -> Mapping[str, Fit]:
        """The largest stage of each kind and step."""
        largest: dict[str, Fit] = {}
        for fit in self.fits:
            name = str(fit.stage.params.get("step") or fit.stage.kind)
            if name not in largest or fit.peak.total > largest[name].peak.total:
                largest[name] = fit
        return largest


def prospect(plan: Plan, to_run: Mapping[str, Stage], store: Store, results: Path) -> Prospect:
    """What these stages of a plan will take; nothing is loaded, and the store is only read.

    Raises:
        HarnessError: `resources.gpu` names no known kind.
    """
    resources = plan.cells[0].cell.settings.resources
    place, shapes = device(resources, results), Shapes(store)
    works, (past, lookup) = Works(shapes), recorded(plan, store)
    spans: dict[str, Span] = {}
    by_rate = 0
    elsewhere = bool(resources.gpus) and not gpu_names()
    for stage in to_run.values():
        tells = not (elsewhere and with_model(known(stage)))  # what a machine without GPUs took says nothing of GPUs
        seconds = expected(stage, past, lookup) if tells else None
        if seconds is not None:
            spans[stage.id] = Span(seconds, seconds, seconds)
            continue
        done = works.of(stage)
        taken = span(done, place) if done else None
        if taken is not None:
            spans[stage.id], by_rate = taken, by_rate + 1
    gpu = sum((spans[i] * stage.gpus for i, stage in to_run.items() if stage.gpus and i in spans), start=NOTHING)
    disk = [on_disk(stage, shapes) for stage in to_run.values()]
    held = fits(to_run.values(), shapes, place)
    datasets = [stage for stage in to_run.values() if stage.kind == dataset.KIND.name]
    notes = [*shapes.notes, *filter(None, (amount(data).note for data in datasets))]
    return Prospect(
        place,
        resources,
        timing(to_run.values(), spans),
        gpu,
        by_rate,
        held,
        kept=sum(left for left, _ in disk),
        beside=max((needed for _, needed in disk), default=0.0),
        assumptions=list(dict.fromkeys(notes)),
    )


def check_fits(plan: Plan, to_run: Mapping[str, Stage], store: Store, results: Path) -> None:
    """HarnessError where a stage does not fit its device: before anything runs, not after hours."""
    place, shapes = device(plan.cells[0].cell.settings.resources, results), Shapes(store)
    check(to_run.values(), shapes, place)


def in_words(seen: Prospect) -> list[str]:
    """Lines for a plan: what does not fit, memory, GPU-hours, gigabytes, and what all this rests on."""
    lines: list[str] = []
    over = [fit for fit in seen.fits if fit.remedy]
    if over:
        lines.append(f"a run stops: {refusal(max(over, key=lambda fit: fit.peak.total), len(over), seen.device)}")
    if seen.peaks and seen.device.on_gpu:
        size = seen.device.memory_bytes
        room = f" of {gigabytes(size)}" if size else ""
        peaks = ", ".join(f"{name} {gigabytes(fit.peak.total)}" for name, fit in seen.peaks.items())
        lines.append(f"memory on each device ({seen.device.name}{room}): {peaks}")
    if seen.gpu.expected:
        lines.append(_gpu_hours(seen))
    if seen.kept >= 1e9:
        beside = f"; {gigabytes(seen.beside)} more while a training runs" if seen.beside else ""
        lines.append(f"disk: {gigabytes(seen.kept)} of models and stored targets at most (see `keep`){beside}")
    if seen.by_rate or over:
        lines += [f"assumed: {note}" for note in seen.assumptions]
    return lines


def _gpu_hours(seen: Prospect) -> str:
    hours = seen.gpu_hours
    line = f"GPU-hours: about {_round(hours.expected)}, from {_round(hours.least)} to {_round(hours.most)}"
    if seen.gpu_usd is not None and seen.resources.usd_per_gpu_hour is not None:
        price = seen.resources.usd_per_gpu_hour
        ends = f"${price * hours.least:,.0f} to ${price * hours.most:,.0f}"
        line += f"; about ${seen.gpu_usd:,.0f} ({ends}) at ${price:.2f} an hour"
    return f"{line} ({seen.by_rate:,} stages by operations over the rate of {seen.device.name})"


def _round(hours: float) -> str:
    """Two digits that mean something."""
    if hours < 10:
        return f"{hours:.2g}"
    digits = len(str(int(hours))) - 2
    return f"{round(hours / 10**digits) * 10**digits:,}"
