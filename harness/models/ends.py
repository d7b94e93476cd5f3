"""What ends an answer, in a model folder's own generation config: whoever loads the folder then stops there too."""

from pathlib import Path
from typing import Any

from harness.core.canonical import Json
from harness.core.lines import read_json, write_json
from harness.models.chat import end_of_turn_ids
from harness.models.load import load_tokenizer
from harness.models.rendering import Refused

_FILE = "generation_config.json"
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def write_ends(folder: Path) -> None:
    """Have the generation config of a model folder list what ends a turn under its chat template.

    A folder whose config lists it, or whose template writes no turns, stays as it is. What else the config lists
    stays in the list.
    """
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        return
    try:
        wanted = end_of_turn_ids(tokenizer)
    except Refused:
        return
    written = _written(folder)
    listed = end_ids(written.get("eos_token_id"))
    if not set(wanted) <= set(listed):
        ends = list(dict.fromkeys([*wanted, *listed]))
        written["eos_token_id"] = ends if len(ends) > 1 else ends[0]
        write_json(folder / _FILE, written, indent=2)  # A new file: the old may be a link to another folder's.


def end_ids(configured: Any) -> list[int]:
    """What a config gives as `eos_token_id` (a number, several or none), as a list."""
    return configured if isinstance(configured, list) else [configured] if configured is not None else []


def _written(folder: Path) -> dict[str, Json]:
    """The generation config; where there is none, what transformers takes from the model's config instead."""
    if (folder / _FILE).exists():
        written: dict[str, Json] = read_json(folder / _FILE)
        return written
    config = read_json(folder / "config.json")
    return {name: config[name] for name in _TOKENS if config.get(name) is not None}
