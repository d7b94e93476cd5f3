"""Any other trainer: a command that writes a Hugging Face folder."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import model_validator

from harness.core.settings import execution
from harness.train.api import Step
from harness.train.settings import StepData

PLACES = ("student", "data", "out", "seed")
_PLACE = re.compile(r"\{([a-z_]+)\}")


class CommandSettings(StepData):
    """A command line, run without a shell: `python train.py --model {student} --data {data} --out {out}`.

    `{student}` is a model folder, `{data}` a file of conversations ({"id", "messages"} a line), `{out}` the folder that
    the command writes: config, safetensors, tokenizer. It runs in the folder that the harness was started in, without
    the API keys of its environment.
    """

    run: str
    files: list[Path] = execution(default_factory=list)
    """Further files that the command runs or reads, e.g. [train.py]: the result's identity includes their contents."""

    @model_validator(mode="after")
    def _command(self) -> Self:
        try:
            words = shlex.split(self.run)
        except ValueError as error:
            raise ValueError(f"'run' is no command line ({error})") from None
        named = [name for word in words for name in _PLACE.findall(word)]
        if unknown := [name for name in named if name not in PLACES]:
            raise ValueError(f"'run' has {{{unknown[0]}}}; there are {', '.join(f'{{{p}}}' for p in PLACES)}")
        if "out" not in named:
            raise ValueError("'run' does not say {out}, where the trained model goes")
        return self


def argv(run: str, places: Mapping[str, str]) -> list[str]:
    """The command's words; placeholders are filled in after splitting, so that a space in a path splits nothing."""
    return [_PLACE.sub(lambda match: places[match[1]], word) for word in shlex.split(run)]


STEP = Step("command", CommandSettings, None)
