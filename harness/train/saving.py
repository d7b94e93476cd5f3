"""A trained model as a plain Hugging Face folder, whether it was trained with adapters, in bfloat16 or in shares."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from harness.core.errors import HarnessError
from harness.core.lines import write_json
from harness.models.ends import complete
from harness.models.load import quiet
from harness.models.weights import State, write_weights
from harness.train.settings import LoraSettings, checkpoint_part

_SHARES = "shares"
"""The folder of a step checkpoint that holds a model in shares and the state of its optimiser."""
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


def merged(state: State, scale: float) -> dict[str, Tensor]:
    """The weights of a model with adapters merged into its matrices: W + scale * B A."""
    plain = {}
    for name, value in state.items():
        stem, adapted, kind = name.partition(".base_layer.")
        if adapted and kind == "weight":
            value = value + scale * (state[stem + _UP] @ state[stem + _DOWN])
        if ".lora_" not in name:
            plain[f"{stem}.{kind}" if adapted else name] = value
    return plain


def write_model(model: Any, lora: LoraSettings | None, source: Path, out: Path, *, writes: bool = True) -> None:
    """Write a model folder: its weights in float32, adapters merged; the tokenizer and the template of `source`.

    Its generation config lists the tokens that end a turn under the template. All processes of a training call this
    together, because a shared model is gathered layer by layer; the process with `writes` writes.
    """
    import transformers
    from transformers.core_model_loading import revert_weight_conversion

    with torch.device("meta"):
        plain = getattr(transformers, model.config.architectures[0])(model.config)

    def as_stored(layer: State) -> State:
        stored: State = revert_weight_conversion(plain, merged(layer, lora.alpha / lora.rank) if lora else layer)
        return stored

    left_out = {*model.all_tied_weights_keys, *(model._keys_to_ignore_on_save or ())}
    state = {name: weight for name, weight in model.state_dict().items() if name not in left_out}
    if writes:
        with quiet():
            plain.save_pretrained(out, state_dict={})
    write_weights(state, as_stored, out, writes=writes)
    if writes:
        written = json.loads((out / "config.json").read_text())
        described = json.loads((source / "config.json").read_text())
        if "use_cache" in described:  # The Trainer switches the cache off.
            written["use_cache"] = described["use_cache"]
        write_json(out / "config.json", written, indent=2)
        complete(out, source)


def save_shares(model: Any, optimizer: Any, scheduler: Any, folder: Path) -> None:
    """Save what a training in shares resumes from; each process writes its own share."""
    import torch.distributed.checkpoint as checkpoint

    checkpoint.save(_resumable(model, optimizer, scheduler), checkpoint_id=folder / _SHARES)


def load_shares(model: Any, optimizer: Any, scheduler: Any, folder: Path) -> None:
    """Load what `save_shares` saved, also where the number of processes was another.

    Raises:
        HarnessError: the training was started with whole models.
    """
    import torch.distributed.checkpoint as checkpoint
    from torch.distributed.checkpoint.state_dict import set_state_dict

    if not (folder / _SHARES).is_dir():
        raise HarnessError(
            "this training was started with whole models and cannot go on with shares of them",
            where=str(folder),
            fix="Set resources.sharding to none as before, or remove the folder to start anew.",
        )
    state = _resumable(model, optimizer, scheduler)
    checkpoint.load(state, checkpoint_id=folder / _SHARES)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def _resumable(model: Any, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, state = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": state, "scheduler": scheduler}


class KeepCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Keeps the model at fractions of the training, each in a folder that appears when it is whole."""

    def __init__(self, fractions: Sequence[float], folder: Path, write: Callable[[Path], None]) -> None:
        self._fractions = [fraction for fraction in fractions if fraction < 1]
        self._folder = folder
        self._write = write

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called on every process after a step."""
        for fraction in self._fractions:
            if state.global_step == max(1, round(fraction * state.max_steps)):
                folder = self._folder / checkpoint_part(fraction)
                partial = self._folder.with_name("new")
                if state.is_world_process_zero:
                    shutil.rmtree(partial, ignore_errors=True)
                self._write(partial)
                if state.is_world_process_zero:
                    self._folder.mkdir(exist_ok=True)
                    shutil.rmtree(folder, ignore_errors=True)
                    partial.rename(folder)
