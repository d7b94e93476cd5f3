"""Tasks of the lm-eval harness: any task, tag or group by its name, run by the package itself.

Numbers, few-shot draws and seeds are those of the command `lm_eval --model hf`, digit by digit: fractions, with its
standard errors. Metrics are named TASK_METRIC, with the filter behind where the task has filters
(`gsm8k_exact_match_strict_match`); a group's score is over its tasks, each of which is a category.

    lm_eval: {tasks: [arc_easy, gsm8k], limit: 200, domain: [gsm8k], data_dir: data/lm_eval}
"""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, model_validator

from harness.bench.api import SCORE_COLUMNS, Measured, MeasuredBenchmark, Metric, OpenMeasured, Sample
from harness.bench.lm_eval.how import How, request_key
from harness.bench.lm_eval.run import evaluate
from harness.bench.lm_eval.tasks import BITS_PER_BYTE, MACRO, Chosen, Reported, choose, reported
from harness.core.lines import write_lines
from harness.core.settings import Settings, execution, later
from harness.generate.api import Ending
from harness.stats.clustered import clustered_mean

_DATA, _TASK = "data", "task"


class LmEvalSettings(Settings):
    """What the command would be told."""

    tasks: list[str] = Field(min_length=1)
    """Tasks, tags and groups, e.g. arc_easy, ai2_arc, mmlu; `pocket_choice` comes with us."""
    domain: list[str] = Field(default_factory=list)
    """Those of `tasks` that measure the domain; the others are general."""
    num_fewshot: int | None = Field(None, ge=0)
    """Examples in the prompt; each task's own number by default."""
    limit: int | None = Field(None, ge=1)
    """Only the first items of each task."""
    apply_chat_template: bool = False
    """Put the prompts into the model's chat template, few-shot examples as turns."""
    gen_kwargs: dict[str, str | int | float | bool | list[str]] = later({})
    """What generation is told beside what each task says, such as max_gen_toks, temperature, do_sample or until."""
    enable_thinking: bool | None = later(None)
    """What a chat template that can ask for thinking is told; its own default where this is not set."""
    think_end_token: str | None = later(None, min_length=1)
    """What ends a reasoning model's thinking, such as `</think>`: the answer stands behind the last one, and a text
    without one is unfinished, no answer, and not scored."""
    repeats: int = later(1, ge=1)
    """How often each item is asked, each time with another seed of torch; scores are means over all (avg@k). It needs a
    `temperature` in `gen_kwargs`: without one every repeat would be the same."""
    pass_at: list[int] = later([])
    """For each k of it and each hit-or-miss metric, pass@k beside: the probability that one of k answers is right."""
    likelihood: bool = later(False)
    """Beside each accuracy also the right answer's -log2 likelihood per byte."""
    seed: int | None = Field(None, ge=0)
    """For all of lm-eval's seeds; by default those of the command (0, 1234, 1234, 1234)."""
    include_path: Path | None = execution(None)
    """A folder of own task files; pinned by content."""
    data_dir: Path | dict[str, dict[str, Path]] | None = execution(None)
    """Local data in the hub's schema: {TASK: {SPLIT: FILE}}, or a folder of files TASK_SPLIT.jsonl (.parquet, .xz)."""

    @model_validator(mode="after")
    def _thinking(self) -> "LmEvalSettings":
        if self.enable_thinking is not None and not self.apply_chat_template:
            raise ValueError("`enable_thinking` is told to a chat template: it needs `apply_chat_template: true`")
        if self.enable_thinking and self.think_end_token is None:
            raise ValueError("`enable_thinking` needs `think_end_token`, which says where the answer begins")
        if self.think_end_token is not None and self.think_end_token.isdigit():
            raise ValueError("`think_end_token` is a text such as `</think>`, not the number of a token")
        return self

    @model_validator(mode="after")
    def _repeats(self) -> "LmEvalSettings":
        if self.repeats > 1 and not self.gen_kwargs.get("temperature"):
            raise ValueError("`repeats` needs `gen_kwargs: {do_sample: true, temperature: ...}`: else all are the same")
        if strange := [k for k in self.pass_at if not 1 <= k <= self.repeats]:
            raise ValueError(f"pass@{strange[0]} needs at least 1 and at most `repeats` answers")
        return self

    @model_validator(mode="after")
    def _domain(self) -> "LmEvalSettings":
        if strange := [name for name in self.domain if name not in self.tasks]:
            raise ValueError(f"'{strange[0]}' of `domain` is not among `tasks`")
        return self


_HIT_OR_MISS = frozenset(
    {
        "acc",
        "acc_norm",
        "acc_bytes",
        "acc_mutual_info",
        "exact_match",
        "prompt_level_strict_acc",
        "prompt_level_loose_acc",
    }
)
"""lm-eval's metrics that are 0 or 1 for an item."""


class LmEval(OpenMeasured[LmEvalSettings]):
    """The chosen tasks."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What each task's YAML declares; the first of each task is its headline."""
        made: dict[str, Metric] = {}
        for name in self.settings.tasks:
            seen = set()
            for one in reported(choose([name], self.settings.include_path), likelihood=self.settings.likelihood):
                metric = Metric(
                    one.name,
                    "bits per byte" if one.metric == BITS_PER_BYTE else "fraction",
                    "higher" if one.higher else "lower",
                    "domain" if name in self.settings.domain else "general",
                    headline=one.asked not in seen,
                    binary=one.metric in _HIT_OR_MISS,
                    mean=not one.name.endswith(MACRO),
                )
                passes = self.settings.pass_at if metric.binary and metric.mean else ()
                more = (replace(metric, name=_pass_at(one.name, k), headline=False, binary=False) for k in passes)
                made |= {m.name: m for m in (metric, *more) if m.name not in made}
                seen.add(one.asked)
        return tuple(made.values())

    def measure(self, model: Measured) -> list[Sample]:
        """One row per task, item and metric; a value that is not a number is `missing`.

        Raises:
            HarnessError: a task that does not exist or that runs code, data that is not here.
        """
        settings = self.settings
        chosen = choose(settings.tasks, settings.include_path)
        data: dict[str, dict[str, Path]] = {}
        for role, path in self.files.items():
            kind, _, rest = role.partition(":")
            if kind == _DATA:
                task, _, split = rest.rpartition(":")
                data.setdefault(task, {})[split] = path
        how = How(
            settings.num_fewshot,
            settings.limit,
            settings.apply_chat_template,
            settings.seed,
            settings.gen_kwargs,
            settings.enable_thinking,
            settings.think_end_token,
            settings.repeats,
        )
        rows: list[Sample] = []
        texts: list[dict[str, str]] = []
        for repeat, outcome in enumerate(evaluate(chosen, data, how, model)):
            said = [row for task, asked in outcome.samples.items() for row in _texts(task, asked, outcome.endings)]
            never = {row["item"] for row in said if row.get("ending") == "unfinished"}
            numbers = reported(chosen, likelihood=settings.likelihood)
            scored = (row for one in numbers for row in _rows(one, outcome.tasks[one.asked], outcome.samples))
            known = [replace(row, value=None, status="unfinished") if row.item in never else row for row in scored]
            rows += [replace(row, item=_nth(row.item, repeat), repeat=repeat) for row in known]
            texts += [row | {"item": _nth(row["item"], repeat)} for row in said]
        write_lines(model.out / "transcripts.jsonl", texts)
        passing = {m.name for m in self.metrics if m.binary and m.mean}
        return rows + [one for k in settings.pass_at for one in _passes([r for r in rows if r.metric in passing], k)]

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Each metric as lm-eval prints it; of a group, each task's too."""
        rows: list[tuple[Any, ...]] = []
        for metric, own in samples.groupby("metric", sort=False):
            scored, macro = own.dropna(subset="value"), str(metric).endswith(MACRO)
            totals = own["category"].value_counts(sort=False)
            tasks = {str(task): scored[scored["category"] == task] for task in own["category"].unique()}
            parts = [(*_part(part), len(part)) for part in tasks.values()]
            pooled = macro or scored["cluster"].is_unique
            together = _together([part for part in parts if part[2]], macro) if pooled else _part(scored)
            rows.append((BENCHMARK.name, metric, "overall", *together, len(scored), len(own)))
            if len(tasks) > 1:
                named = zip(tasks, parts, strict=True)
                rows += [(BENCHMARK.name, metric, task, *part, int(totals[task])) for task, part in named]
        return pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).astype({"value": "Float64", "stderr": "Float64"})

    def export(self, folder: Path, model: str, measured: Path) -> None:
        """lm-eval's `results_*.json` and `samples_*.jsonl`, in a folder per model as the command has them."""
        target = folder / model
        if target.exists():
            shutil.rmtree(target)  # the names carry a date: those of an earlier measure would stay
        target.mkdir()
        for path in [*measured.rglob("results_*.json"), *measured.rglob("samples_*.jsonl")]:
            copy = target / path.relative_to(measured)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)


def _input_files(settings: LmEvalSettings) -> dict[str, Path]:
    """Own task files and local data.

    Raises:
        HarnessError: a task that does not exist.
    """
    chosen = choose(settings.tasks, settings.include_path)
    found = {f"{_DATA}:{t}:{s}": path for t, own in _data(settings, chosen).items() for s, path in own.items()}
    if (folder := settings.include_path) is not None:
        found |= {f"{_TASK}:{p.relative_to(folder)}": p for p in sorted(folder.rglob("*")) if _is_source(p)}
    return found


def _data(settings: LmEvalSettings, chosen: Chosen) -> Mapping[str, Mapping[str, Path]]:
    given = settings.data_dir
    if not isinstance(given, Path):
        return given or {}
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(given.iterdir()) if given.is_dir() else []:
        task, _, split = path.name.split(".")[0].rpartition("_")
        if task in chosen.leaves:
            found.setdefault(task, {})[split] = path
    return found


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _rows(one: Reported, tasks: Sequence[str], samples: Mapping[str, list[dict[str, Any]]]) -> Iterator[Sample]:
    for task in tasks:
        rows = [row for row in samples[task] if row["filter"] == one.filter]
        if not any(_value(one, row) is not None for row in rows):
            continue  # a group's metric need not be one of each of its tasks
        for row in rows:
            item, value = f"{task}:{row['doc_id']}", _value(one, row)
            known = isinstance(value, int | float) and math.isfinite(value)
            yield Sample(
                benchmark=BENCHMARK.name,
                metric=one.name,
                item=item,
                cluster=item,
                category=task,
                turn=1,
                repeat=0,
                value=float(value) if known and value is not None else None,
                status="ok" if known else "missing",
                length=len(_answer(row)),
            )


def _value(one: Reported, row: Mapping[str, Any]) -> Any:
    """What an item has of a number; of the right answer's likelihood None where no single choice is right."""
    if one.metric != BITS_PER_BYTE:
        return row.get(one.metric)
    target, replies = str(row["target"]), [reply[0] for reply in row["resps"]]
    if not isinstance(replies[0], list | tuple) or not target.isdigit() or int(target) >= len(replies):
        return None
    right = row["arguments"][f"gen_args_{target}"]["arg_1"]
    return -float(replies[int(target)][0]) / math.log(2) / len(right.encode())


def _texts(task: str, samples: Sequence[dict[str, Any]], endings: Mapping[str, Ending]) -> Iterator[dict[str, str]]:
    """What each item was asked and answered, and how a generated answer ended."""
    for row in {row["doc_id"]: row for row in samples}.values():
        asked = row["arguments"]["gen_args_0"]
        ending = endings.get(request_key([asked["arg_0"], asked.get("arg_1")]))
        yield {
            "item": f"{task}:{row['doc_id']}",
            "question": str(asked["arg_0"]),
            "answer": _answer(row),
            "reference": _reference(row),
        } | ({"ending": ending} if ending else {})


def _answer(row: Mapping[str, Any]) -> str:
    """What was generated, or the likeliest of the choices."""
    replies = [reply[0] for reply in row["resps"]]
    if not isinstance(replies[0], list | tuple):
        return str(replies[0])
    return _choice(row, max(range(len(replies)), key=lambda k: float(replies[k][0])))


def _reference(row: Mapping[str, Any]) -> str:
    target = str(row["target"])
    return _choice(row, int(target)) if target.isdigit() and len(row["resps"]) > int(target) > -1 else target


def _choice(row: Mapping[str, Any], number: int) -> str:
    return str(row["arguments"][f"gen_args_{number}"]["arg_1"]).strip()


def _mean(values: Sequence[float]) -> tuple[float | None, float | None]:
    """lm-eval's mean and its standard error (with n - 1); None where unknown."""
    if not values:
        return None, None
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) / math.sqrt(len(values))


def _part(samples: pd.DataFrame) -> tuple[float | None, float | None]:
    """The mean of samples with values, and its standard error: lm-eval's, or clustered where items are repeated."""
    values = [float(value) for value in samples["value"]]
    if samples["cluster"].is_unique:
        return _mean(values)
    return clustered_mean(values, samples["cluster"].tolist())


def _together(
    parts: Sequence[tuple[float | None, float | None, int]], macro: bool
) -> tuple[float | None, float | None]:
    """Over a group's tasks: the mean of items with the pooled error, or the mean of means with theirs."""
    if len(parts) < 2:
        return parts[0][:2] if parts else (None, None)
    errors, sizes = [e for _, e, _ in parts if e is not None], [n for *_, n in parts]
    weights = [1] * len(parts) if macro else sizes
    value = sum((m or 0.0) * w for (m, *_), w in zip(parts, weights, strict=True)) / sum(weights)
    if len(errors) < len(parts):
        return value, None
    if macro:
        return value, math.sqrt(sum(e**2 for e in errors)) / len(parts)
    pooled = sum((n - 1) * e**2 * n for n, e in zip(sizes, errors, strict=True)) / (sum(sizes) - len(sizes))
    return value, math.sqrt(pooled / sum(sizes))


def _nth(item: str, repeat: int) -> str:
    """An item's name in a repeat: the first has the item's own."""
    return f"{item}#{repeat}" if repeat else item


def _pass_at(metric: str, k: int) -> str:
    return f"{metric}_pass_at_{k}"


def _passes(rows: Sequence[Sample], k: int) -> Iterator[Sample]:
    """A row per item of hit-or-miss metrics: 1 - C(n - c, k) / C(n, k), with c of its n scored answers right.

    It has no value where fewer than k were scored.
    """
    items: dict[tuple[str, str], list[Sample]] = {}
    for row in rows:
        items.setdefault((row.metric, row.cluster), []).append(row)
    for (metric, item), alike in items.items():
        values = [row.value for row in alike if row.value is not None]
        n, right = len(values), sum(value > 0 for value in values)
        value = 1 - math.comb(n - right, k) / math.comb(n, k) if n >= k else None
        status = "ok" if value is not None else next(row.status for row in alike if row.value is None)
        yield replace(alike[0], metric=_pass_at(metric, k), item=item, repeat=0, value=value, status=status)


BENCHMARK = MeasuredBenchmark("lm_eval", 2, LmEvalSettings, _input_files, LmEval)
