"""Recorded verdicts of known judges on stored answers: what a judge of ours is calibrated against."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.bench.alpaca_eval import BENCHMARK as ALPACA_EVAL
from harness.bench.alpaca_eval import EDITIONS, AlpacaEvalSettings
from harness.bench.alpaca_eval import files as alpaca
from harness.bench.arena_hard import ArenaHardSettings
from harness.bench.arena_hard import files as arena
from harness.bench.mt_bench import MTBenchSettings
from harness.bench.mt_bench import files as fastchat
from harness.bench.mt_bench.pairs import read_model
from harness.bench.mt_bench_pairwise import MTBenchPairwiseSettings
from harness.core.errors import HarnessError
from harness.core.settings import Settings
from harness.generate.api import Answer
from harness.judge.forms.arena import battles

Unit = tuple[str, int]
"""(item, turn)."""
Verdicts = Mapping[Unit, float]


@dataclass(frozen=True)
class RecordedModel:
    """One model's stored answers and the recorded verdicts on them."""

    name: str
    answers: tuple[Answer, ...]
    verdicts: Verdicts
    """Repeats averaged; of pairs, the model's share of the win. Units whose recorded verdict failed are left out."""


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
    share: Callable[[float], float] | None = None
    """Of pairs: a verdict's value -> the first shown answer's share of the win. None for ratings."""
    mean: bool = True
    """The benchmark's score is the mean of these verdicts (of pairs, times 100)."""

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


def mt_bench(settings: MTBenchSettings, folder: Path | None, reference: str | None) -> Recorded:
    """FastChat's `model_answer/*.jsonl` and `model_judgment/REFERENCE_single.jsonl`, by default beside the questions.

    Raises:
        HarnessError: a file is missing or broken, a verdict is of a question that the benchmark does not have, or no
            verdict is on an answer that is there.
    """
    folder, reference = folder or settings.data, reference or "gpt-4"
    ratings, answers, files = _fastchat(settings, folder, reference)
    whole = settings.model_copy(update={"questions": None, "categories": ()})
    return Recorded(reference, whole, _models(answers, ratings, folder), files)


def mt_bench_pairwise(settings: MTBenchPairwiseSettings, folder: Path | None, reference: str | None) -> Recorded:
    """Which of a model's answer and the baseline's has the higher recorded rating; an equal one is a tie.

    The files are those of `mt_bench`, with ratings of the baseline among them.

    Raises:
        HarnessError: as `mt_bench`; the baseline has no recorded ratings.
    """
    folder, reference = folder or settings.data, reference or "gpt-4"
    ratings, answers, files = _fastchat(settings, folder, reference)
    baseline = read_model(settings.baseline)
    if baseline not in ratings:
        raise HarnessError(
            f"holds no ratings of the baseline {baseline}",
            where=str(folder),
            fix=f"Choose a `baseline` that has them: {', '.join(ratings)}.",
        )
    theirs = ratings.pop(baseline)
    shares = {
        model: {unit: _share(value, theirs[unit]) for unit, value in of_model.items() if unit in theirs}
        for model, of_model in ratings.items()
    }
    whole = settings.model_copy(update={"questions": None, "categories": ()})
    return Recorded(f"{reference}'s ratings", whole, _models(answers, shares, folder), files, float)


def arena_hard(settings: ArenaHardSettings, folder: Path | None, reference: str | None) -> Recorded:
    """arena-hard-auto's `model_answer/MODEL.jsonl` and `model_judgment/REFERENCE/MODEL.jsonl`.

    Games against another baseline than the benchmark's are left out.

    Raises:
        HarnessError: as `mt_bench`.
    """
    folder, reference = folder or settings.data, reference or "gpt-4-1106-preview"
    judgments = sorted((folder / "model_judgment" / reference).glob("*.jsonl"))
    known = [q.id for q in arena.read_questions(settings.data / "question.jsonl")]
    shares: dict[str, dict[Unit, list[float]]] = {}
    for game in arena.read_games(judgments):
        v = game.verdict
        if game.baseline not in ("", settings.baseline):
            continue
        if v.task.item not in known:
            raise _other_question(f"question {v.task.item}", game.where, settings.data)
        if v.reply.value is not None:
            first = battles(v.reply.value)[0]
            units = shares.setdefault(game.model, {})
            units.setdefault((v.task.item, v.task.turn), []).append(first if v.task.variant == "ab" else 1 - first)
    places = {model: folder / "model_answer" / f"{model}.jsonl" for model in shares}
    answers = {model: _arena_answers(path) for model, path in places.items() if path.exists()}
    models = _models(answers, {model: _averaged(units, known) for model, units in shares.items()}, folder)
    files = (*judgments, *(places[model.name] for model in models))
    whole = settings.model_copy(update={"questions": None})
    share: Callable[[float], float] = lambda value: battles(value)[0]  # noqa: E731
    return Recorded(reference, whole, models, files, share, mean=False)  # a significant win counts three times


def _arena_answers(path: Path) -> list[Answer]:
    return [Answer(item, (text,)) for item, text in arena.read_answers(path).items()]


def alpaca_eval(settings: AlpacaEvalSettings, folder: Path | None, reference: str | None) -> Recorded:
    """The package's annotations.json: a file, or those of a folder (`*annotations.json`, `.xz` too).

    Each pair is judged in both orders; the recorded verdicts are of one, drawn at random. A second annotation of an
    answer is a repeat.

    Raises:
        HarnessError: a file is missing or broken, an instruction is not the benchmark's, a verdict is against another
            baseline's answer, or on another answer than an earlier one, or there are none by this judge.
    """
    place, reference = folder or settings.data, reference or EDITIONS[settings.version].annotator
    if place is None:
        raise HarnessError("no recorded verdicts are named", where="alpaca_eval", fix="Name a file with --recorded.")
    files = tuple(sorted(place.glob("*annotations.json*"))) if place.is_dir() else (place,)
    whole = settings.model_copy(update={"prompts": None, "both_orders": True})
    asked = {q.turns[0]: q for q in ALPACA_EVAL.open(whole, ALPACA_EVAL.files(whole)).questions}
    shares: dict[str, dict[Unit, list[float]]] = {}
    answers: dict[str, dict[str, Answer]] = {}
    for path in files:
        both = zip(alpaca.read_records(path), alpaca.read_annotations(path), strict=True)
        for number, (row, annotation) in enumerate(both, 1):
            question = asked.get(str(row["instruction"]))
            if question is None or row["output_1"] != question.extra["baseline_answer"]:
                what = "an instruction that the benchmark does not have" if question is None else "another baseline"
                fix = "Give verdicts on the benchmark's instructions against its baseline's answers."
                raise HarnessError(f"is a verdict on {what}", where=f"{path}, row {number}", fix=fix)
            if annotation.judge == reference and annotation.preference is not None:
                answer = Answer(question.id, (str(row["output_2"]),))
                if answers.setdefault(annotation.model, {}).setdefault(question.id, answer) != answer:
                    fix = "Give the verdicts on one set of answers."
                    raise HarnessError("is on another answer", where=f"{path}, row {number}", fix=fix)
                units = shares.setdefault(annotation.model, {})
                units.setdefault((question.id, 1), []).append(annotation.preference - 1)
    if not shares:
        raise HarnessError(f"no verdicts by {reference}", where=str(place), fix="Name another judge with --reference.")
    verdicts = {
        model: {unit: sum(values) / len(values) for unit, values in units.items()} for model, units in shares.items()
    }
    given = {model: by_item.values() for model, by_item in answers.items()}
    return Recorded(reference, whole, _models(given, verdicts, place), files, lambda value: 2 - value)


def _fastchat(
    settings: MTBenchSettings, folder: Path, reference: str
) -> tuple[dict[str, Verdicts], dict[str, list[Answer]], tuple[Path, ...]]:
    """Ratings and answers by model, and the files that hold them."""
    judgments = folder / "model_judgment" / f"{reference}_single.jsonl"
    turns = {q.id: len(q.turns) for q in fastchat.read_questions(settings.data / "question.jsonl")}
    ratings: dict[str, dict[Unit, list[float]]] = {}
    for row in fastchat.read_judgments([judgments]):
        v = row.verdict
        if v.task.turn > turns.get(v.task.item, 0):
            raise _other_question(f"question {v.task.item}, turn {v.task.turn}", row.where, settings.data)
        if v.reply.value is not None:
            ratings.setdefault(row.model, {}).setdefault((v.task.item, v.task.turn), []).append(v.reply.value)
    places = sorted((folder / "model_answer").glob("*.jsonl"))
    answers = {path.stem: fastchat.read_answers(path) for path in places}
    files = (judgments, *(path for path in places if path.stem in ratings))
    return {model: _averaged(units, turns) for model, units in ratings.items()}, answers, files


def _other_question(which: str, where: str, data: Path) -> HarnessError:
    return HarnessError(
        f"judges {which}, which is not in {data / 'question.jsonl'}",
        where=where,
        fix="Give the verdicts that belong to these questions (--recorded).",
    )


def _averaged(values: Mapping[Unit, Sequence[float]], items: Iterable[str]) -> Verdicts:
    """Each unit's mean, in the order of the questions."""
    place = {item: k for k, item in enumerate(items)}
    ordered = sorted(values.items(), key=lambda entry: (place[entry[0][0]], entry[0][1]))
    return {unit: sum(of_unit) / len(of_unit) for unit, of_unit in ordered}


def _share(value: float, other: float) -> float:
    return 0.5 if value == other else float(value > other)


def _models(
    answers: Mapping[str, Iterable[Answer]], verdicts: Mapping[str, Verdicts], folder: Path
) -> tuple[RecordedModel, ...]:
    """The models that have both an answer and a verdict on it.

    Raises:
        HarnessError: there is no such model.
    """
    recorded = [_model(name, given, verdicts.get(name, {})) for name, given in answers.items()]
    models = tuple(model for model in recorded if model.verdicts)
    if not models:
        judged, answered = (", ".join(names) or "no model" for names in (verdicts, answers))
        raise HarnessError(
            f"holds verdicts on {judged} and answers of {answered}: none on an answer that is there",
            where=str(folder),
            fix="model_answer/MODEL.jsonl must be named as the model is in the verdicts.",
        )
    return models


def _model(name: str, answers: Iterable[Answer], verdicts: Verdicts) -> RecordedModel:
    judged = {item for item, _ in verdicts}
    kept = tuple(a for a in answers if a.id in judged)
    answered = {(a.id, t) for a in kept for t, text in enumerate(a.turns, 1) if text is not None}
    return RecordedModel(name, kept, {unit: value for unit, value in verdicts.items() if unit in answered})


Reader = Callable[[Any, Path | None, str | None], Recorded]
"""Of one benchmark: (its settings, the folder of recorded verdicts, whose verdicts) -> what is recorded."""
READERS: Mapping[str, Reader] = {
    "mt_bench": mt_bench,
    "mt_bench_pairwise": mt_bench_pairwise,
    "arena_hard": arena_hard,
    "alpaca_eval": alpaca_eval,
}
"""By benchmark."""
