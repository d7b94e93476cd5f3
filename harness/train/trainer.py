"""transformers.Trainer with our objective; accumulation, schedule, checkpoints and resuming are its own."""

import contextlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness.core.errors import HarnessError
from harness.train.api import Loss, Objective
from harness.train.batches import EffectiveBatches
from harness.train.settings import OptimSettings, Sharding

Progress = Callable[..., None]
"""progress(done, total, unit, **values)"""

SECONDS, FLOPS = "_seconds", "_flops"
"""What a log entry holds beside the curve: the step's time, and its floating-point operations in all processes."""


class DistillTrainer(Trainer):  # type: ignore[misc]
    """Minimises an objective, divided by the response tokens of the whole accumulated batch of all processes."""

    def __init__(
        self,
        *,
        objective: Objective,
        dtype: str,
        batches: EffectiveBatches,
        flops: Callable[[], float] = lambda: 0.0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self._objective = objective
        self._batches = batches
        self._bfloat16 = dtype == "bfloat16"
        self._flops = flops
        self._tokens = 0
        self._parts: list[Loss] = []
        self._clock = 0.0
        self.remove_callback(PrinterCallback)
        if self.args.world_size > 1:
            # Gradients are reduced, and sharded weights gathered, by what wraps the student's own forward.
            student = self.model
            student.forward = lambda batch: _plain(objective(student, batch))

    def _run_epoch(self, *given: Any, **named: Any) -> Any:
        self._clock = self._clock or time.monotonic()
        self._batches.set_epoch(named["epoch"])  # by our own hand: the Trainer looks for it in its own loaders alone
        return super()._run_epoch(*given, **named)

    def loss(self, model: Any, batch: Any) -> Loss:
        """The objective of a batch, on this process alone."""
        with torch.autocast(batch["input_ids"].device.type, torch.bfloat16, enabled=self._bfloat16):
            return Loss(*model(batch)) if self.args.world_size > 1 else self._objective(model, batch)

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Effective batches, each cut by the collator: every process draws all of them and keeps its share."""
        generator = torch.Generator()  # of its own: a loader draws a number at its start
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self._batches, collate_fn=self.data_collator, generator=generator
        )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Add the gradients of an effective batch's mean loss; returns the part of it that is this process's, nats."""
        model.train()
        micro_batches, self._tokens = inputs["micro_batches"], inputs["count"]
        total = torch.zeros((), device=self.args.device)
        for number, micro_batch in enumerate(micro_batches, 1):
            last = number == len(micro_batches)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss = self.loss(model, self._prepare_inputs(micro_batch))
                # The processes' gradients are averaged; ours are to be added.
                part = loss.total.float() * self.args.world_size / max(self._tokens, 1)
                self.accelerator.backward(part)
            self._parts.append(Loss(loss.total.detach(), loss.parts))
            total += part.detach()
        return total

    def floating_point_ops(self, inputs: Any) -> int:
        """None: what is computed is counted by `train.flops`."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record a step with its response tokens and the loss's parts; HarnessError when the loss is not a number."""
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
        super().log(logs, start_time)

    def _quotients(self) -> dict[str, float]:
        """The parts of the loss over the effective batch; one that is over nothing is left out."""
        sums, counts = Counter[str](), Counter[str]()
        for parts in self._everywhere([loss.parts for loss in self._parts]):
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

    def _save_checkpoint(self, *given: Any, **named: Any) -> None:
        """The Trainer keeps the checkpoint that is newest by its time: where a clock was set back, not the last one."""
        if self.args.should_save:
            for folder in Path(self.args.output_dir).glob("checkpoint-*"):
                os.utime(folder, (0, 0))
        super()._save_checkpoint(*given, **named)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.args.world_size > 1:  # what is written next says that the checkpoint is whole, of every process
            torch.distributed.barrier()


def _plain(loss: Loss) -> tuple[torch.Tensor, dict[str, tuple[float, float]]]:
    """In a form in which wrappers of a model find the tensor."""
    return loss.total, dict(loss.parts)


class Report(TrainerCallback):  # type: ignore[misc]
    """Passes each logged step on to a progress function."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """A step was logged."""
        if logs and "loss" in logs and state.is_world_process_zero:
            self._progress(state.global_step, state.max_steps, "steps", loss=logs["loss"])


def arguments(
    settings: OptimSettings, work: Path, seed: int, sharding: Sharding = "none", run_name: str = ""
) -> TrainingArguments:
    """The Trainer's arguments: no reporters of its own choice, a line of log per step, step checkpoints under `work`.

    In one of several processes (torchrun's environment says so) each takes its share of the effective batch.
    """
    warm = settings.schedule == "constant" and settings.warmup_steps > 0
    made = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
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
        save_steps=settings.save_every,
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
        **({"fsdp": True, "fsdp_config": _FSDP} if sharding == "fsdp" else {}),
    )
    made._n_gpu = min(made.n_gpu, 1)  # With more, the Trainer would split each batch over all of them.
    return made


_FSDP = {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "state_dict_type": "FULL_STATE_DICT"}


def last_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that is whole: its state file is written last, and says the step its folder is named by."""
    folders = [p for p in work.glob("checkpoint-*") if p.name.partition("-")[2].isdecimal()]
    for folder in sorted(folders, key=lambda p: int(p.name.partition("-")[2]), reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((folder / "trainer_state.json").read_text())
            if state["global_step"] == int(folder.name.partition("-")[2]):
                return str(folder)
    return None
