"""A trained model as a plain Hugging Face folder, whether it was trained with adapters, in bfloat16 or in shards."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from harness.core.lines import write_json
from harness.models.ends import complete
from harness.models.load import quiet
from harness.train.settings import LoraSettings, checkpoint_part

State = Mapping[str, Tensor]

_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


def full_state(trainer: Any) -> State:
    """All weights of the model that a Trainer trains, gathered from every process (empty on all but the first)."""
    if trainer.is_fsdp_enabled:
        gathered: State = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        return gathered
    state: State = trainer.model.state_dict()
    return state


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


def write_model(config: Any, state: State, lora: LoraSettings | None, source: Path, out: Path) -> None:
    """Write a model folder: these weights in float32, adapters merged; the tokenizer and the template of `source`.

    Its generation config lists the tokens that end a turn under the template.
    """
    import transformers

    if lora is not None:
        state = merged(state, lora.alpha / lora.rank)
    with torch.device("meta"):
        model = getattr(transformers, config.architectures[0])(config)
    weights = {name: value.detach().to("cpu", torch.float32) for name, value in state.items()}
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    with quiet():
        model.save_pretrained(out)
    written = json.loads((out / "config.json").read_text())
    described = json.loads((source / "config.json").read_text())
    if "use_cache" in described:  # The Trainer switches the cache off.
        written["use_cache"] = described["use_cache"]
    write_json(out / "config.json", written, indent=2)
    complete(out, source)


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
