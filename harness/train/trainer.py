"""transformers.Trainer with a step's objective; accumulation, schedule, checkpoints and resuming are the Trainer's."""

import contextlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness.core.errors import HarnessError
from harness.models.shares import is_shared
from harness.train.api import Loss, Objective, Sum
from harness.train.batches import EffectiveBatches
from harness.train.examples import Example
from harness.train.sampling import Sampler, check
from harness.train.saving import load_shares, save_shares
from harness.train.settings import OptimSettings, StepSettings

Progress = Callable[..., None]
"""progress(done, total, unit, **values)"""

SECONDS, FLOPS = "_seconds", "_flops"
"""Keys of a log entry that are not in the curve: the step's time, and its operations in all processes."""


class DistillTrainer(Trainer):  # type: ignore[misc]
    """Minimises an objective, divided by the response tokens of the whole accumulated batch of all processes."""

    def __init__(
        self,
        *,
        objective: Objective,
        dtype: str,
        batches: EffectiveBatches,
        flops: Callable[[], float] = lambda: 0.0,
        sampler: Sampler | None = None,
        budget: float | None = None,
        **parts: Any,
    ) -> None:
        self._shared = is_shared(parts["model"])
        # The Trainer refuses to save the optimiser's state of a model in shares; this class does it in its place.
        parts["args"].save_only_model = self._shared
        super().__init__(**parts)
        self.args.save_only_model = False
        self._objective = objective
        self._batches = batches
        self._bfloat16 = dtype == "bfloat16"
        self._flops = flops
        self._sampler, self._budget = sampler, budget
        self._tokens = 0
        self._parts: list[Mapping[str, Sum]] = []
        self._clock = 0.0
        self.remove_callback(PrinterCallback)
        if budget is not None:
            self.add_callback(StopAt(budget))
        if self.args.world_size > 1:
            # DDP and FSDP reduce gradients and gather weights around `forward`, so the objective runs inside it.
            self.model.forward = self._forward

    def _forward(self, batch: Any) -> tuple[torch.Tensor, dict[str, tuple[float, float]]]:
        """The objective of a batch, inside the student's `forward`."""
        head = self.model.get_output_embeddings()
        if is_shared(head):
            # The loss needs the whole output matrix after the layers. Gathered ahead of them, it leaves no second copy:
            # within the pass torch keeps the buffer of the last gathering until the next.
            head.unshard()
        return _plain(self._objective(self.model, batch))

    def _run_epoch(self, *args: Any, **kwargs: Any) -> Any:
        self._clock = self._clock or time.monotonic()
        self._batches.set_epoch(kwargs["epoch"])  # the Trainer does so only for loaders that it made
        return super()._run_epoch(*args, **kwargs)

    def loss(self, model: Any, batch: Any) -> Loss:
        """The objective of a batch, on this process alone."""
        with torch.autocast(batch["input_ids"].device.type, torch.bfloat16, enabled=self._bfloat16):
            return Loss(*model(batch)) if self.args.world_size > 1 else self._objective(model, batch)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule over the steps; with a budget, which fixes no number of steps, over the share that is spent."""
        if self._budget is None:
            return super().create_scheduler(num_training_steps, optimizer)
        budget, warmup, shape = self._budget, int(self.args.warmup_steps), str(self.args.lr_scheduler_type.value)

        def rate(step: int) -> float:
            if step < warmup:
                return step / warmup
            left = max(0.0, 1 - spent(self.state.log_history) / budget)
            return {"cosine": (1 - math.cos(math.pi * left)) / 2, "linear": left}.get(shape, 1.0)

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, rate)
        return self.lr_scheduler

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Effective batches: every process draws all of them, and takes its share of each when it is cut."""
        generator = torch.Generator()  # else the loader's start would draw from torch's random state
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self._batches, collate_fn=_uncut, generator=generator
        )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Add the gradients of an effective batch's mean loss; returns this process's share of that loss, in nats."""
        batch = self.data_collator(inputs["examples"] if self._sampler is None else self._sampled(self._sampler))
        model.train()
        micro_batches, self._tokens = batch["micro_batches"], batch["count"]
        total = torch.zeros((), device=self.args.device)
        for number, micro_batch in enumerate(micro_batches, 1):
            last = number == len(micro_batches)
            # A model in shares has no `no_sync`: gradients that wait for the last micro-batch would be whole.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss = self.loss(model, self._prepare_inputs(micro_batch))
                # Data parallelism averages the processes' gradients; the factor makes the average their sum.
                part = loss.total.float() * self.args.world_size / max(self._tokens, 1)
                self.accelerator.backward(part)
            self._parts.append(loss.parts)
            total += part.detach()
        return total

    def _sampled(self, sampler: Sampler) -> list[Example]:
        """The step's examples, those that the student answers with its answers."""
        objective = self.model.__dict__.pop("forward", None)  # of several processes: a draw needs the model's `forward`
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self._bfloat16):
            examples, parts = sampler(self.state.global_step, self.state.max_steps)
        if objective is not None:
            self.model.forward = objective
        self._parts.append(parts)
        return examples

    def floating_point_ops(self, inputs: Any) -> int:
        """0, because `train.flops` counts operations."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record a step with its response tokens and the loss's parts; HarnessError when the loss is not finite."""
        if "loss" in logs:
            if not math.isfinite(logs["loss"]) or not math.isfinite(logs.get("grad_norm", 0.0)):
                raise HarnessError(
                    f"the loss is {logs['loss']}, its gradient's norm {logs.get('grad_norm')} at step "
                    f"{self.state.global_step}",
                    fix="Lower the learning rate, add warm-up steps, or check the data and the starting weights.",
                )
            now = time.monotonic()
            used = sum(self._everywhere([self._flops()]))
            logs = {**logs, "tokens": self._tokens, **self._quotients(), SECONDS: now - self._clock, FLOPS: used}
            self._clock = now
            if self._sampler is not None:
                check([*self.state.log_history, logs], self._sampler.how)
        super().log(logs, start_time)

    def _quotients(self) -> dict[str, float]:
        """The means of the loss's parts over the effective batch; a part with count 0 is left out."""
        sums, counts = Counter[str](), Counter[str]()
        for parts in self._everywhere(self._parts):
            for name, (value, count) in parts.items():
                sums[name] += value
                counts[name] += count
        self._parts.clear()
        return {name: sums[name] / count for name, count in sorted(counts.items()) if count}

    def _everywhere(self, values: list[Any]) -> list[Any]:
        """The values of all processes."""
        if self.args.world_size == 1:
            return values
        from accelerate.utils import gather_object

        gathered: list[Any] = gather_object(values)
        return gathered

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save, and keep this checkpoint: the Trainer keeps the newest by time, wrong after a clock was set back."""
        if self.args.should_save:
            for folder in Path(self.args.output_dir).glob("checkpoint-*"):
                os.utime(folder, (0, 0))
        super()._save_checkpoint(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights; those of a model in shares are saved with the optimiser's state."""
        if not self._shared:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._shared:
            save_shares(self.model, self.optimizer.optimizer, self.lr_scheduler, Path(output_dir))
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        if not self._shared:
            super()._load_from_checkpoint(*args, **kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._shared and checkpoint is not None:
            load_shares(self.model, self.optimizer.optimizer, self.lr_scheduler, Path(checkpoint))
        elif not self._shared:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.args.world_size > 1:  # the state file, written next, says that every process has saved
            torch.distributed.barrier()


def _plain(loss: Loss) -> tuple[torch.Tensor, dict[str, tuple[float, float]]]:
    """The loss as a tuple, in which wrappers of a model find the tensor."""
    return loss.total, dict(loss.parts)


def _uncut(examples: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """A step's examples as the Trainer hands them on: it asks batches for their keys."""
    return {"examples": examples}


class Report(TrainerCallback):  # type: ignore[misc]
    """Passes each logged step on to a progress function; with a budget the number of all steps is an estimate."""

    def __init__(self, progress: Progress, budget: float | None = None) -> None:
        self._progress, self._budget = progress, budget

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Called after each log entry."""
        if logs and "loss" in logs and state.is_world_process_zero:
            step, total = state.global_step, state.max_steps
            if self._budget is not None:
                total = max(step, round(step * self._budget / spent(state.log_history)))
            self._progress(step, total, "steps", loss=logs["loss"])


class StopAt(TrainerCallback):  # type: ignore[misc]
    """Ends a training with the step at which its operations reach a budget."""

    def __init__(self, budget: float) -> None:
        self._budget = budget

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Called after each log entry."""
        if logs and "loss" in logs and spent(state.log_history) >= self._budget:
            control.should_training_stop = control.should_save = True


def spent(history: Sequence[Mapping[str, float]]) -> float:
    """The operations of all steps in a log."""
    return sum(entry.get(FLOPS, 0.0) for entry in history)


_ENDLESS = 10**9
"""More steps than a training takes."""


def most_steps(settings: StepSettings, work: Path) -> int | None:
    """The step after which a training ends; None where `epochs` says it.

    A training that has spent its budget already ends at its last checkpoint.
    """
    if settings.budget_flops is None:
        return settings.max_steps
    if (checkpoint := last_checkpoint(work)) is not None:
        state = json.loads((Path(checkpoint) / "trainer_state.json").read_text())
        if spent(state["log_history"]) >= settings.budget_flops:
            return int(state["global_step"])
    return _ENDLESS


def arguments(
    settings: OptimSettings,
    work: Path,
    seed: int,
    run_name: str = "",
    *,
    max_steps: int | None = None,
    sampled_every: int = 1,
) -> TrainingArguments:
    """The Trainer's arguments: no reporters, a log entry per step, step checkpoints under `work`.

    With answers that are made for `sampled_every` steps at once, checkpoints stand only between these.
    """
    warm = settings.schedule == "constant" and settings.warmup_steps > 0
    args = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        max_steps=max_steps or -1,
        learning_rate=settings.learning_rate,
        # transformers' plain `constant` would leave the warm-up out.
        lr_scheduler_type="constant_with_warmup" if warm else settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch",
        seed=seed,
        data_seed=seed,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=-(-settings.save_every // sampled_every) * sampled_every,
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],
        run_name=run_name or None,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
    )
    args._n_gpu = min(args.n_gpu, 1)  # With more, the Trainer would split each batch over all GPUs.
    return args


def last_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint: its state file, which is written last, names the step of the folder's name."""
    folders = {int(s): p for p in work.glob("checkpoint-*") if (s := p.name.removeprefix("checkpoint-")).isdecimal()}
    for step in sorted(folders, reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads((folders[step] / "trainer_state.json").read_text())["global_step"] == step:
                return str(folders[step])
    return None
