"""transformers.Trainer with our objective; accumulation, schedule, checkpoints and resuming are its own."""

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness.core.errors import HarnessError
from harness.train.api import Objective
from harness.train.settings import OptimSettings

Progress = Callable[..., None]
"""progress(done, total, unit, **values)"""


class DistillTrainer(Trainer):  # type: ignore[misc]
    """Minimises an objective, divided by the response tokens of the whole accumulated batch."""

    def __init__(self, *, objective: Objective, dtype: str, **parts: Any) -> None:
        super().__init__(**parts)
        self._objective = objective
        self._bfloat16 = dtype == "bfloat16"
        self._tokens = 0
        # Makes the Trainer count the labels of the accumulated batch, and not divide by the number of its parts again.
        self.model_accepts_loss_kwargs = True
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The part of the effective batch's mean loss that this micro-batch contributes, a scalar in nats."""
        self._tokens = int(num_items_in_batch)
        autocast = torch.autocast(inputs["input_ids"].device.type, torch.bfloat16, enabled=self._bfloat16)
        with autocast:
            loss = self._objective(model, inputs)
        return loss.total.float() / max(self._tokens, 1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record a step with its number of response tokens; HarnessError when the loss is not a number."""
        if "loss" in logs:
            if not math.isfinite(logs["loss"]) or not math.isfinite(logs.get("grad_norm", 0.0)):
                raise HarnessError(
                    f"the loss is {logs['loss']}, its gradient's norm {logs.get('grad_norm')} at step "
                    f"{self.state.global_step}",
                    fix="Lower the learning rate, add warm-up steps, or check the data and the starting weights.",
                )
            logs = {**logs, "tokens": self._tokens}
        super().log(logs, start_time)


class Report(TrainerCallback):  # type: ignore[misc]
    """Passes each logged step on to a progress function."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """A step was logged."""
        if logs and "loss" in logs:
            self._progress(state.global_step, state.max_steps, "steps", loss=logs["loss"])


def arguments(settings: OptimSettings, work: Path, seed: int) -> TrainingArguments:
    """The Trainer's arguments: one device, no reporters, a line of log per step, step checkpoints under `work`."""
    if settings.batch_size % settings.micro_batch_size:
        raise HarnessError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch_size {settings.micro_batch_size}"
        )
    warm = settings.schedule == "constant" and settings.warmup_steps > 0
    made = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.batch_size // settings.micro_batch_size,
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
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    if made.world_size > 1:
        raise HarnessError("training runs on one device; it was started on several", fix="Start one process.")
    made._n_gpu = min(made.n_gpu, 1)  # With more, the Trainer would split each batch over all of them.
    return made


def last_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that is whole: its state file is written last, and says the step its folder is named by."""
    folders = [p for p in work.glob("checkpoint-*") if p.name.partition("-")[2].isdecimal()]
    for folder in sorted(folders, key=lambda p: int(p.name.partition("-")[2]), reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((folder / "trainer_state.json").read_text())
            if state["global_step"] == int(folder.name.partition("-")[2]):
                return str(folder)
    return None
