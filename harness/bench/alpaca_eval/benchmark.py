"""AlpacaEval 1 and 2: 805 instructions, each answer compared by a judge with a baseline's.

Li et al., *AlpacaEval* (github.com/tatsu-lab/alpaca_eval); Dubois et al., *Length-Controlled AlpacaEval*
(arXiv 2404.04475). Prompts, the order in which a pair is shown, and the reading of replies are those of the package
`alpaca_eval`, which is run for them in a process of its own; win rates are its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from harness.bench.alpaca_eval.files import read_instructions, read_outputs, write_records
from harness.bench.alpaca_eval.length_control import STAND_IN, is_stand_in
from harness.bench.alpaca_eval.package import package_file, prepare
from harness.bench.alpaca_eval.scores import (
    CONTROLLED_FEWEST,
    LENGTH_CONTROLLED,
    WIN_RATE,
    controlled_samples,
    pair_samples,
    scores,
)
from harness.bench.api import JudgedBenchmark, Metric, OpenJudged, Question, Sample
from harness.core.errors import HarnessError
from harness.core.settings import Settings, execution
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.store.ledger import Reply, Status


@dataclass(frozen=True)
class Edition:
    """What differs between AlpacaEval 1 and 2."""

    annotator: str
    """The package's name of the judge and its prompt."""
    prompt: str
    """The prompt's file in the package."""
    baseline: str
    form: str


EDITIONS = {
    1: Edition(
        "alpaca_eval_gpt4",
        "evaluators_configs/alpaca_eval_gpt4/alpaca_eval.txt",
        "text_davinci_003",
        "alpaca-ranking",
    ),
    2: Edition(
        "weighted_alpaca_eval_gpt4_turbo",
        "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt",
        "gpt4_1106_preview",
        "alpaca-weighted",
    ),
}


class AlpacaEvalSettings(Settings):
    """Which AlpacaEval, which files, and how much of them."""

    version: Literal[1, 2] = 2
    """2: judged by one token's probability against gpt4_1106_preview; 1: by a ranking against text_davinci_003."""
    data: Path | None = execution(None)
    """Folder with instructions.{parquet,json,jsonl} and the baseline's answers, where the next two do not say."""
    instructions: Path | None = execution(None)
    """Rows with `instruction` and, as there are, `index` and `dataset`."""
    baseline_outputs: Path | None = execution(None)
    """The baseline's answers: AlpacaEval's model_outputs.json, or a table of many models with a `generator` column."""
    baseline: str | None = None
    """Its name among the generators; the version's own by default."""
    lc_reference: Path | None = execution(None)
    """AlpacaEval's df_gamed.csv. Without it length-controlled rates use a stand-in and are approximate."""
    both_orders: bool = False
    """Ask twice, the second time with the two answers swapped."""
    prompts: int | None = Field(None, ge=1)
    """Only the first so many instructions."""
    max_new_tokens: int = Field(2048, ge=1)


class AlpacaEval(OpenJudged[AlpacaEvalSettings]):
    """Its samples are, for each verdict, the probability that the model's answer is better (`win_rate`, in percent) and
    the characters by which the baseline's answer is longer (`length_difference`); and for each instruction what it
    contributes to the length-controlled rate (in percent; their mean is the rate)."""

    metrics = (
        Metric(WIN_RATE, "%", "higher", "general"),
        Metric(LENGTH_CONTROLLED, "%", "higher", "general", rate=True, fewest_audited=CONTROLLED_FEWEST),
    )

    @cached_property
    def questions(self) -> list[Question]:
        """The instructions in file order, each with the baseline's answer."""
        settings = self.settings
        chosen = read_instructions(self.files["instructions"])[: settings.prompts]
        answers = read_outputs(self.files["baseline"], _baseline(settings), chosen)
        return [
            Question(
                str(i.index),
                i.dataset,
                (i.text,),
                temperature=0.0,
                max_new_tokens=settings.max_new_tokens,
                extra={"baseline": _baseline(settings), "baseline_answer": answer},
            )
            for i, answer in zip(chosen, answers, strict=True)
        ]

    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """One task per answer and order; an answer equal to the baseline's is a draw that no judge is asked for."""
        both_orders = self.settings.both_orders
        given = _texts(answers)
        judged = [q for q in self.questions if given.get(q.id) not in (None, _baseline_answer(q))]
        pairs = [(q.turns[0], _baseline_answer(q), str(given[q.id])) for q in judged]
        if both_orders:  # swapped for the package, which then shows each pair the other way round
            pairs += [(instruction, second, first) for instruction, first, second in pairs]
        annotator = EDITIONS[self.settings.version].annotator
        shown = prepare(annotator, [dict(zip(("instruction", "output_1", "output_2"), p, strict=True)) for p in pairs])
        tasks = []
        for number, (q, one) in enumerate(zip(judged * (1 + both_orders), shown, strict=True)):
            model_first = one.switched != (number >= len(judged))
            evidence = {"question": q.turns[0], "answer": given[q.id], "reference": _baseline_answer(q)}
            variant = "ab" if model_first else "ba"
            tasks.append(JudgeTask(q.id, 1, annotator, one.messages, evidence, variant=variant))
        return tasks

    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """Two rows per expected verdict, numbered by `_place`, then one per instruction (see the class)."""
        repeats = 1 + max((v.task.repeat for v in verdicts), default=0)
        places = repeats * (len(_ORDERS) if self.settings.both_orders else 1)
        given = _texts(answers)
        judged = {(v.task.item, self._place(v)): v for v in verdicts}
        rows = []
        for q in self.questions:
            text, baseline = given.get(q.id), _baseline_answer(q)
            difference = None if text is None else len(baseline) - len(text)
            for place in range(places):
                value, status = _outcome(text, baseline, judged.get((q.id, place)))
                rows += pair_samples(q.id, q.category, place, value, status, difference, len(text or ""))
        return rows + controlled_samples(rows, self.files["lc_reference"])

    def _place(self, verdict: Verdict) -> int:
        """The number of a verdict among all on the same answer; with both orders each repeat has two."""
        if not self.settings.both_orders:
            return verdict.task.repeat
        return len(_ORDERS) * verdict.task.repeat + _ORDERS.index(verdict.task.variant)

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Win rates overall and by data set, the length-controlled one overall: approximate unless the file
        `lc_reference` is the package's own reference."""
        return scores(samples, approximate=is_stand_in(self.files["lc_reference"]))

    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write MODEL/model_outputs.json and MODEL/JUDGE/annotations.json as the package does.

        A row of annotations is a verdict, or a draw between equal answers; an answer that failed is in neither file.
        """
        given = {item: text for item, text in _texts(answers).items() if text is not None}
        judged: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            judged.setdefault(verdict.task.item, []).append(verdict)
        outputs, annotations = [], []
        for q in (q for q in self.questions if q.id in given):
            lead = {"index": int(q.id), "dataset": q.category, "instruction": q.turns[0]}
            baseline = {"output_1": _baseline_answer(q), "generator_1": q.extra["baseline"]}
            pair = lead | baseline | {"output_2": given[q.id], "generator_2": model, "annotator": judge}
            outputs.append(lead | {"output": given[q.id], "generator": model})
            equal = Verdict(JudgeTask(q.id, 1), Reply("ok"))
            for v in judged.get(q.id, [equal] if given[q.id] == _baseline_answer(q) else []):
                value, _ = _outcome(given[q.id], _baseline_answer(q), v)
                preference = None if value is None else 1 + value
                annotations.append(pair | {"preference": preference, "preference_raw_completion": v.reply.text})
        write_records(folder / model / "model_outputs.json", outputs)
        write_records(folder / model / judge / "annotations.json", annotations)


def _input_files(settings: AlpacaEvalSettings) -> dict[str, Path]:
    """Instructions, the baseline's answers, the package's prompt, the reference for length control.

    Raises:
        HarnessError: a file is neither named nor in `data`, or the package is not installed.
    """
    outputs = [_baseline(settings), "outputs"]
    return {
        "instructions": settings.instructions or _in_folder(settings, "instructions", ["instructions"]),
        "baseline": settings.baseline_outputs or _in_folder(settings, "baseline_outputs", outputs),
        "prompts": package_file(EDITIONS[settings.version].prompt),
        "lc_reference": settings.lc_reference or STAND_IN,
    }


BENCHMARK = JudgedBenchmark(
    "alpaca_eval", 2, AlpacaEvalSettings, _input_files, AlpacaEval, lambda settings: EDITIONS[settings.version].form
)
_ORDERS = ("ba", "ab")
"""Both orders of a pair, as their rows are numbered: first the one in which the baseline's answer is shown first."""


def _baseline(settings: AlpacaEvalSettings) -> str:
    return settings.baseline or EDITIONS[settings.version].baseline


def _baseline_answer(question: Question) -> str:
    return str(question.extra["baseline_answer"])


def _in_folder(settings: AlpacaEvalSettings, setting: str, names: Sequence[str]) -> Path:
    if settings.data is None:
        raise HarnessError(f"neither `data` nor `{setting}` is given", where="alpaca_eval")
    places = [settings.data / sub / f"{name}.{kind}" for name in names for sub in ("", "zoo") for kind in _KINDS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise HarnessError(
            f"has no {' or '.join(f'{name}.{{{chr(44).join(_KINDS)}}}' for name in names)}",
            where=str(settings.data),
            fix=f"Name the file with alpaca_eval.{setting}.",
        )
    return path


_KINDS = ("parquet", "json", "jsonl")


def _texts(answers: Sequence[Answer]) -> dict[str, str | None]:
    return {a.id: a.turns[0] if a.turns else None for a in answers}


def _outcome(text: str | None, baseline: str, verdict: Verdict | None) -> tuple[float | None, Status]:
    """The probability that the model's answer is better, from a preference in the order shown."""
    if text is not None and text == baseline:
        return 0.5, "ok"
    if text is None or verdict is None:
        return None, "missing"
    value = verdict.reply.value
    if value is None:
        return None, verdict.reply.status
    return (2 - value if verdict.task.variant == "ab" else value - 1), "ok"
