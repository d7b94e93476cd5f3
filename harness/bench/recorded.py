"""Recorded verdicts of known judges on stored answers: what a judge of ours is calibrated against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bench import _mt_bench_files as fastchat
from harness.bench.api import Answer
from harness.bench.mt_bench import MTBenchSettings
from harness.core.errors import HarnessError
from harness.core.settings import Settings

Unit = tuple[str, int]
"""(item, turn)."""


@dataclass(frozen=True)
class RecordedModel:
    """One model's stored answers and the recorded verdicts on them."""

    name: str
    answers: tuple[Answer, ...]
    verdicts: Mapping[Unit, float]
    """Repeats averaged; units whose recorded verdict failed are left out."""


@dataclass(frozen=True)
class Recorded:
    """A benchmark's recorded verdicts."""

    reference: str
    """Who gave them."""
    settings: Settings
    """The benchmark's settings under which the answers are judged: all of its questions."""
    models: tuple[RecordedModel, ...]
    files: tuple[Path, ...]
    """Where they were read."""

    def only(self, questions: int | None) -> "Recorded":
        """So many of the questions, evenly over their order; all by default."""
        items = list(dict.fromkeys(item for model in self.models for item, _ in model.verdicts))
        if questions is None or questions >= len(items):
            return self
        kept = {items[k * len(items) // questions] for k in range(questions)}
        return replace(self, models=tuple(_only(model, kept) for model in self.models))


def _only(model: RecordedModel, kept: set[str]) -> RecordedModel:
    answers = tuple(a for a in model.answers if a.id in kept)
    return RecordedModel(model.name, answers, {unit: v for unit, v in model.verdicts.items() if unit[0] in kept})


def mt_bench(settings: Settings, folder: Path | None, reference: str) -> Recorded:
    """FastChat's `model_answer/*.jsonl` and `model_judgment/REFERENCE_single.jsonl`, by default beside the questions.

    Raises:
        HarnessError: a file is missing or broken, a verdict is of a question that the benchmark does not have, or no
            verdict is on an answer that is there.
    """
    assert isinstance(settings, MTBenchSettings)
    folder = folder or settings.data
    judgments = folder / "model_judgment" / f"{reference}_single.jsonl"
    turns = {q.id: len(q.turns) for q in fastchat.read_questions(settings.data / "question.jsonl")}
    verdicts: dict[str, dict[Unit, list[float]]] = {}
    for row in fastchat.read_judgments([judgments]):
        v = row.verdict
        if v.turn > turns.get(v.item, 0):
            raise HarnessError(
                f"judges question {v.item}, turn {v.turn}, which is not in {settings.data / 'question.jsonl'}",
                where=row.where,
                fix="Give the verdicts that belong to these questions (--recorded).",
            )
        if v.value is not None:
            verdicts.setdefault(row.model, {}).setdefault((v.item, v.turn), []).append(v.value)
    files = sorted((folder / "model_answer").glob("*.jsonl"))
    models = [_model(path.stem, fastchat.read_answers(path), verdicts.get(path.stem, {})) for path in files]
    found = tuple(model for model in models if model.verdicts)
    if not found:
        judged = ", ".join(verdicts) or "no model"
        answered = ", ".join(path.stem for path in files) or "no model"
        raise HarnessError(
            f"holds verdicts on {judged} and answers of {answered}: none on an answer that is there",
            where=str(folder),
            fix="model_answer/MODEL.jsonl must be named as `model` in the verdicts' lines.",
        )
    whole = settings.model_copy(update={"questions": None, "categories": ()})
    return Recorded(reference, whole, found, (judgments, *(p for p in files if p.stem in verdicts)))


def _model(name: str, answers: Sequence[Answer], verdicts: Mapping[Unit, Sequence[float]]) -> RecordedModel:
    """Only what has both an answer and a verdict."""
    judged = {item for item, _ in verdicts}
    kept = tuple(a for a in answers if a.id in judged)
    answered = {(a.id, t) for a in kept for t in range(1, len(a.turns) + 1) if a.turns[t - 1] is not None}
    means = {unit: sum(values) / len(values) for unit, values in verdicts.items() if unit in answered}
    return RecordedModel(name, kept, means)


Reader = Callable[[Settings, Path | None, str], Recorded]
READERS: Mapping[str, Reader] = {"mt_bench": mt_bench}
"""By benchmark."""
