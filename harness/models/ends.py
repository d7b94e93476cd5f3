"""The tokens that end an answer, in a model folder's generation config: every engine that loads it stops there."""

import shutil
from pathlib import Path
from typing import Any

from harness.core.canonical import Json
from harness.core.lines import read_json, write_json
from harness.models.chat import end_of_turn_ids
from harness.models.load import load_tokenizer
from harness.models.refs import model_files
from harness.models.rendering import Refused

_FILE = "generation_config.json"
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def write_ends(folder: Path) -> None:
    """Make the generation config of a model folder list the tokens that end a turn under its chat template.

    Tokens that it lists already stay. A folder whose config lists them all, or whose template refuses a plain
    conversation, is not changed.
    """
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        return
    try:
        turn_ends = end_of_turn_ids(tokenizer)
    except Refused:
        return
    written = _written(folder)
    listed = end_ids(written.get("eos_token_id"))
    if not set(turn_ends) <= set(listed):
        ends = list(dict.fromkeys([*turn_ends, *listed]))
        written["eos_token_id"] = ends if len(ends) > 1 else ends[0]
        write_json(folder / _FILE, written, indent=2)  # A new file: the old may be a link to another folder's.


def complete(folder: Path, source: Path) -> None:
    """Add to a folder of weights and config the other files of the model `source`, and the tokens that end a turn."""
    for file in model_files(source):
        if "safetensors" not in file.name and file.name != "config.json":
            shutil.copyfile(file, folder / file.name)
    write_ends(folder)


def end_ids(configured: Any) -> list[int]:
    """A config's `eos_token_id` (a number, a list or None) as a list."""
    return configured if isinstance(configured, list) else [configured] if configured is not None else []


def _written(folder: Path) -> dict[str, Json]:
    """The generation config, or in its absence the values that transformers takes from the model's config."""
    if (folder / _FILE).exists():
        written: dict[str, Json] = read_json(folder / _FILE)
        return written
    config = read_json(folder / "config.json")
    return {name: config[name] for name in _TOKENS if config.get(name) is not None}
