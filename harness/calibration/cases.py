"""Compare a recipe's judges with recorded verdicts, by the same tasks, judge stages and ledger as a run's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bench.recorded import READERS, Recorded, RecordedModel
from harness.core.errors import HarnessError
from harness.generate.api import Answer
from harness.plan.build import Plan
from harness.stages import benchmarks, judge, stored_answers
from harness.stages.api import Stage
from harness.store.store import Store

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_PADDED_SHARE = 0.5


@dataclass(frozen=True)
class Case:
    """A judge on a benchmark's recorded verdicts."""

    benchmark: str
    form: str
    judge: Stage
    """A verdict stage of the recipe."""
    recorded: Recorded
    plain: Mapping[str, Stage]
    """Model -> the stage in which its stored answers are judged."""
    padded: Mapping[str, Stage]
    """The same with padded answers; empty without padding."""

    @property
    def digest(self) -> str:
        """The judge's digest."""
        return judge.resolved(self.judge.params, self.judge.execution).digest


@dataclass(frozen=True)
class Wanted:
    """The choice of recorded verdicts to calibrate on."""

    benchmarks: tuple[str, ...] = ()
    """By default every benchmark of the recipe that has recorded verdicts."""
    recorded: Path | None = None
    reference: str | None = None
    """The judge of the recorded verdicts; by default the benchmark's customary judge."""
    questions: int | None = None
    padding: bool = True


def cases(plan: Plan, store: Store, request: Wanted) -> list[Case]:
    """A case per judge of the plan.

    Raises:
        HarnessError: the recipe has no such benchmark or no judge, or there are no recorded verdicts.
    """
    by_digest: dict[str, Case] = {}
    for name, verdicts in _judged(plan, request.benchmarks):
        digest = judge.resolved(verdicts.params, verdicts.execution).digest
        if digest not in by_digest:
            by_digest[digest] = _case(name, verdicts, store, request)
    return list(by_digest.values())


def stages(cases: Sequence[Case]) -> dict[str, Stage]:
    """The stages that must run before the cases can be measured, inputs first."""
    seen: set[str] = set()
    ends = (s for case in cases for s in (*case.plain.values(), *case.padded.values()))
    return {s.id: s for end in ends for s in end.walk(seen) if not s.is_leaf}


def _judged(plan: Plan, benchmarks: Sequence[str]) -> list[tuple[str, Stage]]:
    """The plan's verdict stages on these benchmarks, with the benchmarks' names."""
    every = [(e.benchmark, judged.verdicts) for _, e, judged in plan.judged]
    where = str(plan.recipe.path)
    readers = ", ".join(READERS)
    for name in benchmarks:
        if name not in READERS:
            raise HarnessError(f"there are no recorded verdicts for '{name}'", fix=f"Choose from {readers}.")
        if not any(known == name for known, _ in every):
            fix = f"Add it to `evaluate`, or choose from {', '.join(dict.fromkeys(known for known, _ in every))}."
            raise HarnessError(f"the recipe does not evaluate {name}", where=where, fix=fix)
    verdict_stages = [(name, verdicts) for name, verdicts in every if name in (benchmarks or READERS)]
    if not verdict_stages:
        fix = f"Calibration needs a model judge on {readers}; a program judge needs no calibration."
        raise HarnessError("the recipe has no judge that could be calibrated", where=where, fix=fix)
    return verdict_stages


def _case(name: str, stage: Stage, store: Store, request: Wanted) -> Case:
    recorded = READERS[name](benchmarks.opened(stage).settings, request.recorded, request.reference).only(
        request.questions
    )
    bench = benchmarks.pin(name, recorded.settings)

    def over(model: RecordedModel, *, padded: bool) -> Stage:
        title = f"{name}: {'padded ' if padded else ''}answers of {model.name}"
        texts = [_padded(a) for a in model.answers] if padded else model.answers
        answers = stored_answers.stage(store, texts, title)
        weights = {"judge": stage.inputs["judge"]} if "judge" in stage.inputs else {}
        return replace(
            stage,
            params={**bench.params, "judge": stage.params["judge"]},
            inputs={"answers": answers, **bench.files, **weights},
            execution={**stage.execution, **bench.execution},
            title=title.replace("answers", "verdicts", 1),
        )

    plain = {m.name: over(m, padded=False) for m in recorded.models}
    padded = {m.name: over(m, padded=True) for m in recorded.models} if request.padding else {}
    assert bench.form is not None, "recorded verdicts are of a judged benchmark"
    return Case(name, bench.form, stage, recorded, plain, padded)


def _padded(answer: Answer) -> Answer:
    return replace(answer, turns=tuple(t if t is None else pad(t) for t in answer.turns))


def pad(text: str) -> str:
    """The answer, then its beginning once more: about half as long again, and nothing new is said."""
    sentences, again = _SENTENCE.split(text.strip()), ""
    for sentence in sentences:
        again = f"{again} {sentence}".strip()
        if len(again) >= _PADDED_SHARE * len(text):
            break
    return f"{text}\n\nIn other words, to say it once more: {again}" if again else text
