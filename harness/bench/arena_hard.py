"""Arena-Hard v0.1: 500 hard prompts, each answer judged against a baseline's in both orders.

Li et al., *From Crowdsourced Data to High-Quality Benchmarks: Arena-Hard and BenchBuilder Pipeline* (arXiv 2406.11939).
Prompt, labels and score are those of arena-hard-auto v0.1: two games per question, a significant win (`>>`) counts as
three battles, and the score is the win rate against the baseline that a Bradley-Terry model predicts.

A model meets nobody but the baseline, so that rate is its share of the battles (`stats.bradley_terry` says why); a
sample is a battle, and the score is the mean of samples. Errors are clustered by question, whose battles are not
independent; upstream resamples battles.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd
from pydantic import Field

from harness.bench import _arena_hard_files as files_
from harness.bench import _arena_hard_prompts as prompts
from harness.bench._arena_hard_scores import METRIC, battle_samples, score_models, win_rates
from harness.bench.api import Answer, Metric, Question, Sample, samples_frame
from harness.core.errors import HarnessError
from harness.core.settings import Settings, execution
from harness.judge.api import JudgeTask, Verdict


class ArenaHardSettings(Settings):
    """Which Arena-Hard files, and how much of them."""

    data: Path = execution()
    """Folder with question.jsonl and the baseline's answers (model_answer/NAME.jsonl or NAME.model_answer.jsonl,
    `.xz` too); their content is what counts."""
    baseline: str = "gpt-4-0314"
    """Whose answers the model's are compared with."""
    questions: int | None = Field(None, ge=1)
    """Only the first so many questions."""
    max_new_tokens: int = Field(4096, ge=1)


class ArenaHard:
    """A `GenerativeBenchmark`."""

    name = "arena_hard"
    version = 1
    settings: type[Settings] = ArenaHardSettings
    metrics = (Metric(METRIC, "%", "higher", "general"),)
    program = None

    def form(self, settings: Settings) -> str:
        """The better of two answers, and by how much."""
        return "arena"

    def files(self, settings: Settings) -> dict[str, Path]:
        """Questions and the baseline's answers."""
        own = _own(settings)
        names = (f"model_answer/{own.baseline}.jsonl", f"{own.baseline}.model_answer.jsonl")
        places = [own.data / f"{name}{end}" for name in names for end in ("", ".xz")]
        baseline = next((place for place in places if place.exists()), places[0])
        return {"questions": own.data / "question.jsonl", "baseline": baseline}

    def questions(self, settings: Settings, files: Mapping[str, Path]) -> list[Question]:
        """The questions in file order, each with the baseline's answer.

        Raises:
            HarnessError: a broken or duplicate line, a question that the baseline has not answered.
        """
        own = _own(settings)
        answers = files_.read_answers(files["baseline"])
        lines = files_.read_questions(files["questions"])[: own.questions]
        for line in lines:
            if answers.get(line.id) is None:
                raise HarnessError(
                    f"{own.baseline} has no answer to question {line.id} ({line.where})",
                    where=str(files["baseline"]),
                    fix="Complete the baseline's answers, or choose another `baseline`.",
                )
        return [
            Question(
                id=line.id,
                category=line.category,
                turns=(line.prompt,),
                temperature=0.0,
                max_new_tokens=own.max_new_tokens,
                extra={"baseline": own.baseline, "baseline_answer": answers[line.id]},
            )
            for line in lines
        ]

    def tasks(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
    ) -> list[JudgeTask]:
        """Two games per answered question, the baseline's answer first (`ba`) and the model's first (`ab`)."""
        given = {a.id: a.turns[0] for a in answers if a.turns}
        return [
            _task(question, text, variant)
            for question in questions
            if (text := given.get(question.id)) is not None
            for variant in files_.VARIANTS
        ]

    def samples(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
        verdicts: Sequence[Verdict],
    ) -> list[Sample]:
        """One row per battle, in % for the model: three for a significant win, one for any other game.

        A game without a value is one row without. The battles of game g (0 `ba`, 1 `ab`) of a verdict's repeat r are
        repeats 6 r + 3 g and following.
        """
        return battle_samples(self.name, questions, answers, verdicts)

    def aggregate(self, samples: pd.DataFrame, files: Mapping[str, Path] | None = None) -> pd.DataFrame:
        """The win rate against the baseline overall and, where there are several, by category; n and total are games.

        The standard error is clustered by question.
        """
        return win_rates(samples)

    def export(
        self,
        folder: Path,
        model: str,
        judge: str,
        answers: Sequence[Answer],
        tasks: Sequence[JudgeTask],
        verdicts: Sequence[Verdict],
        questions: Sequence[Question] = (),
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE/MODEL.jsonl as arena-hard-auto v0.1 reads them."""
        files_.write_model(folder, model, judge, answers, tasks, verdicts)


BENCHMARK = ArenaHard()


def score_files(questions: Path, judgments: Sequence[Path], seed: int = 0) -> pd.DataFrame:
    """Scores of stored arena-hard-auto judgments: columns model, baseline, judge, SCORE_COLUMNS, low, high, rating.

    Games against two baselines, as v2.0 has them (one for each category), are two rates. `low` and `high` are the 95 %
    bootstrap interval over questions (in %, seeded), `rating` the Bradley-Terry rating on the Elo scale, fitted on all
    of a judge's models that met one baseline, which has 1000; it is null where a model won all battles or none. Lines
    for the same question are repeats. A question without a line counts in `total`; where there are several baselines,
    in that of the baselines that meet its category.

    Raises:
        HarnessError: a broken line, or a judgment of a question that the question file does not have.
    """
    asked = [Question(q.id, q.category, (q.prompt,), 0.0, 1) for q in files_.read_questions(questions)]
    categories = {q.id: q.category for q in asked}
    games = files_.read_games(dict.fromkeys(judgments))
    if not games:
        raise HarnessError("no judgments", where=", ".join(map(str, judgments)))
    for game in games:
        if game.verdict.item not in categories:
            raise HarnessError(
                f"judges question {game.verdict.item}, which is not in {questions}",
                where=game.where,
                fix="Give the question file that these judgments belong to.",
            )
    met = {(game.baseline, categories[game.verdict.item]) for game in games}
    several = len({baseline for baseline, _ in met}) > 1
    blocks = []
    for (judge, baseline), own in groupby(sorted(games, key=_by), key=lambda game: (game.judge, game.baseline)):
        theirs = [q for q in asked if not several or (baseline, q.category) in met]
        samples = {
            model: samples_frame(battle_samples(BENCHMARK.name, theirs, [], [game.verdict for game in of_model]))
            for model, of_model in groupby(own, key=lambda game: game.model)
        }
        blocks.append(score_models(judge, baseline, samples, seed))
    return pd.concat(blocks, ignore_index=True)


def _by(game: files_.JudgedGame) -> tuple[str, str, str]:
    return game.judge, game.baseline, game.model


def _own(settings: Settings) -> ArenaHardSettings:
    assert isinstance(settings, ArenaHardSettings)
    return settings


def _task(question: Question, text: str, variant: str) -> JudgeTask:
    baseline = question.extra["baseline_answer"]
    shown = (text, baseline) if variant == "ab" else (baseline, text)
    evidence = {
        "category": question.category,
        "question": question.turns[0],
        "answer": text,
        "baseline": question.extra["baseline"],
        "baseline_answer": baseline,
    }
    messages = prompts.messages(question.turns[0], *shown)
    return JudgeTask(question.id, 1, prompts.NAME, messages, evidence, variant=variant)
