"""MT-Bench in pairs: each turn's answer is compared with a baseline model's stored one, in both orders.

Zheng et al. (arXiv 2306.05685), section 3. Prompts, files and score are FastChat's (`--mode pairwise-baseline`): the
pair-v2 prompts, the math ones with references, a win only where both orders agree on it and otherwise a tie, and the
win rate with a tie as half a win (`win_rate_adjusted`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.bench.api import JudgedBenchmark, Metric, OpenJudged, Question, Sample
from harness.bench.mt_bench import pairs
from harness.bench.mt_bench.benchmark import MTBenchSettings, chosen_questions, input_files, metric_name
from harness.bench.mt_bench.files import read_answers, read_prompts
from harness.bench.turns import turn_scores
from harness.core.errors import HarnessError
from harness.core.settings import execution
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict


class MTBenchPairwiseSettings(MTBenchSettings):
    """Which MT-Bench files, how much of them, and whose answers to compare with."""

    baseline: Path = execution()
    """A model's answers in FastChat's model_answer format; the content is what counts."""


class MTBenchPairwise(OpenJudged[MTBenchPairwiseSettings]):
    """MT-Bench's questions and files, judged in pairs."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The win rate, under the chosen references."""
        return (Metric(metric_name("win_rate", self.settings), "%", "higher", "general"),)

    @cached_property
    def questions(self) -> list[Question]:
        """MT-Bench's questions, each with the baseline's answers.

        Raises:
            HarnessError: as MT-Bench, or a turn that the baseline has not answered.
        """
        model = pairs.read_model(self.files["baseline"])
        answers = {answer.id: answer.turns for answer in read_answers(self.files["baseline"])}
        questions = []
        for question in chosen_questions(self.settings, self.files):
            turns = [text for text in answers.get(question.id, ()) if text is not None]
            if len(turns) < len(question.turns):
                raise HarnessError(
                    f"{model} has no answer to each turn of question {question.id}",
                    where=str(self.files["baseline"]),
                    fix="Complete the baseline's answers, or choose another `baseline`.",
                )
            questions.append(replace(question, extra={**question.extra, "baseline": model, "baseline_answers": turns}))
        return questions

    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """Two games per answered turn, the model's answer first (`ab`) and the baseline's first (`ba`)."""
        prompts = read_prompts(self.files["prompts"], pairs.PLACEHOLDERS)
        return pairs.judge_tasks(prompts, self.questions, answers)

    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """One row per (question, turn) and repeat, in % for the model; see `mt_bench.pairs.outcome`.

        Where one of the two games has no value the row has no value either, and that game's status.
        """
        return pairs.pair_samples(BENCHMARK.name, self.metrics[0].name, self.questions, answers, verdicts)

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Overall, by turn and by category: the mean over rows that have a value, clustered by question."""
        return turn_scores(samples)

    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE_pair.jsonl."""
        pairs.write_model(folder, model, judge, answers, verdicts)


def _input_files(settings: MTBenchPairwiseSettings) -> dict[str, Path]:
    """MT-Bench's files and the baseline's answers."""
    return input_files(settings) | {"baseline": settings.baseline}


BENCHMARK = JudgedBenchmark(
    "mt_bench_pairwise", 1, MTBenchPairwiseSettings, _input_files, MTBenchPairwise, lambda _: "pair"
)
