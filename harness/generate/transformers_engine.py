"""The transformers engine: left-padded batches through our own decode loop (`generate.decoding`)."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import Incomplete
from harness.generate import attention
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.decoding import Row, batch_length, decode
from harness.generate.prompts import Prompt, answer, prepare, room, stop_ids
from harness.models.load import available, load_model, load_tokenizer
from harness.models.memory import ran_out, release


def load(folder: Path, settings: GenerateSettings) -> "TransformersEngine":
    """Load a Hugging Face folder, on the stage's GPUs where it has any."""
    model = load_model(folder, settings.dtype, available())
    attention.use(model)
    return TransformersEngine(load_tokenizer(folder), model, settings)


class TransformersEngine:
    """A model and its tokenizer. Implements `harness.generate.api.Engine`."""

    def __init__(self, tokenizer: Any, model: Any, settings: GenerateSettings) -> None:
        self._tokenizer, self._model, self._batch_size = tokenizer, model, settings.batch_size
        self._stops = stop_ids(tokenizer, model.generation_config)
        self._max_length = room(model.config, settings.max_length)

    def complete(self, requests: Sequence[Request], on_done: Callable[[list[Answer]], None]) -> None:
        """Complete all requests, longest prompts first; `on_done` gets each batch as soon as it is finished.

        A request that does not fit the model fails alone: its text is None and `finish` says why.

        Raises:
            Incomplete: memory is too short for a single request.
        """
        prompts, failed = prepare(self._tokenizer, requests, self._max_length)
        if failed:
            on_done(failed)
        while prompts:
            batch = prompts[: batch_length(len(prompts[0].ids), self._batch_size)]
            rows = self._decoded(batch)
            if rows is None:
                self._halve(batch)
                continue
            prompts = prompts[len(batch) :]
            pairs = zip(batch, rows, strict=True)
            on_done([answer(self._tokenizer, p, row.tokens, row.finish, self._stops) for p, row in pairs])

    def _halve(self, batch: Sequence[Prompt]) -> None:
        """Smaller batches from now on."""
        if len(batch) == 1:
            what = f"one conversation of {len(batch[0].ids)} + {batch[0].limit} tokens does not fit in memory"
            raise Incomplete(what, where="generate", fix="Free some memory or use another device, and run again.")
        self._batch_size //= 2
        warnings.warn(
            f"out of memory with {len(batch)} conversations at once: going on with batches of {self._batch_size}",
            RuntimeWarning,
            stacklevel=3,
        )

    def _decoded(self, batch: Sequence[Prompt]) -> list[Row] | None:
        """The finished rows; None where memory ran out."""
        rows = [Row(p.ids, p.limit, p.request.temperature, p.request.seed, p.request.top_p) for p in batch]
        try:
            with torch.inference_mode():
                decode(self._model, rows, self._stops)
            return rows
        except RuntimeError as error:
            if not ran_out(error):
                raise
        release()
        return None
