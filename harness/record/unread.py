"""What a run leaves unsaid: rows that no training read, prompts that none prepared for, answers that were cut."""

import json
from collections.abc import Iterator

from harness.core.canonical import Json
from harness.plan.build import Plan
from harness.stages import answer, respond
from harness.store.store import Store

MOST = 0.5
"""Share of a cell's answers on a benchmark that may reach their limit before it is said. A limit cuts the longest
answers of any model; where it cuts more than half, scores are of beginnings, or the model never learned to stop."""


def warnings(plan: Plan, store: Store) -> list[str]:
    """What a reader of the run should know of these."""
    found = (*_cut_answers(plan, store), *_cut_responses(plan, store), *_of_trainings(plan, store))
    return list(dict.fromkeys(found))


def _cut_answers(plan: Plan, store: Store) -> Iterator[str]:
    for cell, evaluated, judged in plan.judged:
        if not store.has(judged.answers.id):
            continue
        ends = [end for one in answer.read(store.path(judged.answers.id)) for end in one.finish]
        cut = ends.count("length")
        if ends and cut > MOST * len(ends):
            yield (
                f"{evaluated.benchmark}: {cut} of {len(ends)} answers of {cell.name} reached the limit of their length "
                "and were cut there. Raise `max_new_tokens`, or look whether the model ever ends its turn."
            )


def _cut_responses(plan: Plan, store: Store) -> Iterator[str]:
    for stage in plan.stages.values():
        if stage.kind == respond.KIND.name and store.has(stage.id):
            counts: dict[str, int] = json.loads((store.path(stage.id) / "data.json").read_text())
            if counts["reached_limit"] > MOST * counts["kept"]:
                yield (
                    f"{stage.title}: {counts['reached_limit']} of {counts['kept']} reached the limit of their length "
                    "and were cut there: who learns from them learns to stop there. Raise `max_new_tokens`, or look "
                    "whether the teacher ever ends its turn."
                )


def _of_trainings(plan: Plan, store: Store) -> Iterator[str]:
    """A line for each training and reason to leave rows out, with the first such row; and what prompts add."""
    for cell in plan.cells:
        for trained in cell.trained:
            if not store.has(trained.stage.id):
                continue
            summary: dict[str, Json] = json.loads((store.path(trained.stage.id) / "training.json").read_text())
            if untaught := summary.get("untaught_prompt"):
                yield (
                    f"{trained.stage.title}: the chat template ends a prompt with {untaught!r}, which stands before no "
                    "plain answer in training: the model is asked after a text that it did not learn from. Name "
                    "another template with `chat_template:`."
                )
            first = {row["reason"]: row for row in reversed(summary.get("refused", []))}
            for reason, row in first.items():
                yield (
                    f"{trained.stage.title}: {summary['skipped'][reason]} of {summary['rows']} rows were left out, "
                    f"first row {row['row']} ({row['id']}): {reason}."
                )
