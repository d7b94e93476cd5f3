"""Conversations files as the tokens that trainings read."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.lines import read_lines, write_lines
from harness.models.load import load_tokenizer
from harness.train.examples import Examples, read_examples
from harness.train.tokens import write_tokens


@dataclass(frozen=True)
class Stored:
    """What a training reads."""

    tokens: list[Path]
    mix: Path | None = None
    domains: tuple[str, ...] = ()

    @property
    def examples(self) -> Examples:
        return read_examples(self.tokens, self.mix, self.domains)


def stored(data: Path, tokenizer: Path, folder: Path, max_length: int = 512, domains: Sequence[str] = ()) -> Stored:
    """Encode a file into new folders under `folder`; with `domains` as a mix, each line's part by its `domain`."""
    shutil.rmtree(folder, ignore_errors=True)
    if not domains:
        return Stored([_encoded(data, tokenizer, folder / "0", max_length)])
    names = [None, *domains]
    rows = list(read_lines(data))
    parts: list[list[object]] = [[] for _ in names]
    order = []
    for row in rows:
        number = names.index(row.get("domain"))
        order.append((number, len(parts[number])))
        parts[number].append({"id": row["id"], "messages": row["messages"]})
    tokens = []
    for number, part in enumerate(parts):
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / f"{number}.jsonl", part)
        tokens.append(_encoded(folder / f"{number}.jsonl", tokenizer, folder / str(number), max_length))
    np.save(folder / "rows.npy", np.array(order, np.int32))
    return Stored(tokens, folder / "rows.npy", tuple(domains))


def _encoded(data: Path, tokenizer: Path, folder: Path, max_length: int) -> Path:
    folder.mkdir(parents=True)
    write_tokens(data, load_tokenizer(tokenizer), max_length, folder)
    return folder
