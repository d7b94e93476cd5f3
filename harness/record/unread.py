"""What a run leaves unsaid: rows that no training read, prompts that none prepared for, answers that were cut."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.judge.thoughts import holds_thoughts
from harness.models.inventory import quantised
from harness.plan.build import Plan
from harness.plan.fit import model_of
from harness.record.judged import Judged
from harness.record.training import Trained
from harness.stages import respond, targets
from harness.store.store import Store

MOST = 0.5
"""Share of a cell's answers on a benchmark that may reach their limit before it is said. A limit cuts the longest
answers of any model; where it cuts more than half, scores are of beginnings, or the model never learned to stop."""


def cut_answers(judged: Judged) -> Iterator[str]:
    """A line where a cell's answers mostly reached the limit of their length."""
    ends = [end for one in judged.answers for end in one.finish]
    cut = ends.count("length")
    if ends and cut > MOST * len(ends):
        yield (
            f"{judged.benchmark}: {cut} of {len(ends)} answers of {judged.cell} reached the limit of their length "
            "and were cut there. Raise `max_new_tokens`, or look whether the model ever ends its turn."
        )


def judged_thinking(judged: Judged) -> Iterator[str]:
    """A line where a cell's answers hold a reasoning model's thinking, which was judged with them."""
    texts = [text for one in judged.answers for text in one.turns if text is not None]
    if thinking := sum(map(holds_thoughts, texts)):
        yield (
            f"{judged.benchmark}: {thinking} of {len(texts)} answers of {judged.cell} hold thinking, which was judged "
            "as part of them. Set `generate.think_end` (and `think_start`) to have it left out."
        )


def cut_responses(plan: Plan, store: Store) -> Iterator[str]:
    """A line for each set of a teacher's responses that mostly reached that limit."""
    for stage in plan.stages.values():
        if stage.kind == respond.KIND.name and store.has(stage.id):
            counts: dict[str, int] = json.loads((store.path(stage.id) / "data.json").read_text())
            if counts["reached_limit"] > MOST * counts["kept"]:
                yield (
                    f"{stage.title}: {counts['reached_limit']} of {counts['kept']} reached the limit of their length "
                    "and were cut there: who learns from them learns to stop there. Raise `max_new_tokens`, or look "
                    "whether the teacher ever ends its turn."
                )


def quantised_models(plan: Plan, store: Store) -> Iterator[str]:
    """A line for each model with quantised weights by which texts, scores or rewards were made."""
    made_by: dict[str, set[str]] = {}
    for stage in plan.stages.values():
        model = model_of(stage)
        if model is None or stage.kind == targets.KIND.name:  # a training names what its stored targets are of
            continue
        folder = Path(model.path or store.path(model.id)) / stage.params.get("part", "")
        if (folder / "config.json").is_file() and (method := quantised(folder)):
            made_by.setdefault(f"{model.title}: its weights are quantised ({method})", set()).add(stage.kind)
    for said, kinds in made_by.items():
        yield (
            f"{said}: what it gave ({', '.join(sorted(kinds))}) is of this checkpoint, not of the unquantised model."
        )


def of_trainings(trained: Iterable[Trained]) -> Iterator[str]:
    """Lines on each training: what its prompts add, which teachers are quantised, why rows were left out."""
    for training in trained:
        record = training.record
        if record.untaught_prompt:
            yield (
                f"{training.title}: the chat template ends a prompt with {record.untaught_prompt!r}, which stands "
                "before no plain answer in training: the model is asked after a text that it did not learn from. Name "
                "another template with `chat_template:`."
            )
        for role, method in (record.quantised_teachers or {}).items():
            yield (
                f"{training.title}: the weights of {role} are quantised ({method}): what was learned is what this "
                "checkpoint predicts, not what the unquantised model would."
            )
        first = {row.reason: row for row in reversed(record.refused)}
        for reason, row in first.items():
            yield (
                f"{training.title}: {training.skipped[reason]} of {record.rows} rows were left out, "
                f"first row {row.row} ({row.id}): {reason}."
            )
