"""Answers that exist already, as a judge stage takes them: a leaf, pinned by content like any file."""

from collections.abc import Sequence

from harness.core.canonical import digest
from harness.core.lines import write_lines
from harness.generate.api import Answer
from harness.stages import answer
from harness.stages.api import Stage
from harness.stages.pinned import leaf
from harness.store.store import Store


def stage(store: Store, answers: Sequence[Answer], title: str) -> Stage:
    """The answers, written into the store's `calibrations/answers` as an answer stage writes them."""
    rows = list(answer.rows_of(answers))
    key = digest(rows)
    folder = store.root / "calibrations" / "answers" / key
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "answers.new"
    write_lines(temporary, rows)
    temporary.replace(folder / "answers.jsonl")
    return leaf(key, folder, title)
