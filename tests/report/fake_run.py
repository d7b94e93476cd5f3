"""Writes run folders as the plan room does: pocket-like, with made-up scores, for tests and for looking at."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.bench.api import SAMPLE_COLUMNS, SCORE_COLUMNS
from harness.data.profile import Piece, Profile, Shown, spread
from harness.record.profiles import ProfileRecord
from harness.record.run import (
    CellRecord,
    JudgeRecord,
    MetricRecord,
    RunRecord,
    StageCounts,
    TrainingRecord,
    write_run,
)
from harness.record.tables import CURVES, EXPERTS, TRANSCRIPTS
from harness.report.load import RunData

TEACHERS = ("large", "small")
METHODS = ("sft", "kd")
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
EFFECTS = {"student": -1.6, "teacher": 1.0, "large": 0.4, "small": -0.2, "sft": 0.0, "kd": 0.35}
PROGRAM_METRIC = MetricRecord("pocket", "general", "%", "higher", "general", headline=True, binary=True, mean=True)
METRICS = (
    replace(PROGRAM_METRIC, benchmark="mt_bench", metric="score", unit="points (1-10)", binary=False),
    PROGRAM_METRIC,
    replace(PROGRAM_METRIC, metric="domain", role="domain"),
)
JUDGE = JudgeRecord(
    benchmark="mt_bench",
    judge="a-judge-model",
    protocol="rating",
    calibrated=False,
    note="never compared with known verdicts",
)
PROGRAM = JudgeRecord(benchmark="pocket", judge="program", protocol="exact match", calibrated=None, note="")


def a_record(**changes: Any) -> RunRecord:
    """What run.json says, with changes; without cells."""
    return replace(
        RunRecord(
            name="pocket-teachers",
            description="Does a larger teacher make a better student, and does distilling its logits beat its text?",
            created="2026-03-01T12:00:00+00:00",
            command="harness run recipes/pocket-teachers.yaml",
            versions={"python": "3.11.9", "torch": "2.13.0", "transformers": "5.19.0"},
            hardware={"machine": "x86_64", "cpu": "A Processor", "cores": 8, "memory_gb": 24.0, "gpus": 0},
            git={"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
            axes={},
            cells=(),
            stages=StageCounts(asked=126, unique=71, executed=71, seconds=812.4),
            generation=(),
            judges=(JUDGE, PROGRAM),
            judging=(),
            metrics=METRICS,
            training=(),
            mixes=(),
            contamination=(),
            costs=(),
            not_repeatable=(),
            warnings=(),
        ),
        **changes,
    )


def a_run(samples: pd.DataFrame, scores: pd.DataFrame, **changes: Any) -> RunData:
    """A run without a folder, which trained and judged nothing."""
    record = a_record(**{"judges": (), "stages": StageCounts(0, 0, 0, 0.0), "git": {}, "hardware": {}} | changes)
    curves, experts, transcripts = (pd.DataFrame(columns=list(t.columns)) for t in (CURVES, EXPERTS, TRANSCRIPTS))
    return RunData(
        **vars(record), samples=samples, scores=scores, transcripts=transcripts, curves=curves, experts=experts
    )


@dataclass
class Fake:
    """What the fake run holds; change it before `write`."""

    questions: int = 40
    tasks: int = 60
    seeds: int = 3
    axes: Mapping[str, Sequence[str | float]] = field(default_factory=lambda: {"teacher": TEACHERS, "method": METHODS})
    """Swept beside the seed. Along one named `domain_ratio` the domain gains and general scores pay."""
    cells: list[CellRecord] = field(default_factory=list)
    lost: Mapping[str, int] = field(default_factory=dict)
    """Cell -> how many MT-Bench samples the judge refused."""
    failed: Mapping[str, str] = field(default_factory=dict)
    hostile: str = ""
    """Put into questions, answers and verdicts."""
    record: dict[str, Any] = field(default_factory=dict)
    """Fields of its RunRecord that are to say something else."""
    curves: Sequence[str] = ("loss", "learning_rate")
    experts: int = 0
    """Of every swept cell's routers; 0 writes no such table."""

    def __post_init__(self) -> None:
        self.cells = [CellRecord(b, {}, baseline=True, failed=None) for b in ("student", "teacher")]
        for point in itertools.product(*self.axes.values(), range(self.seeds)):
            labels = dict(zip((*self.axes, "seed"), map(str, point), strict=True))
            name = ",".join(f"{k}={v}" for k, v in labels.items())
            self.cells.append(CellRecord(name, labels, baseline=False, failed=self.failed.get(name)))

    def write(self, folder: Path) -> Path:
        """Write the run folder."""
        folder.mkdir(parents=True, exist_ok=True)
        samples = pd.DataFrame([s for c in self.cells if not c.failed for s in self._samples(c)])
        samples["value"] = samples["value"].astype("Float64")
        lead = ["cell", "baseline", *self.axes, "seed"]
        samples = samples.astype(dict.fromkeys(lead[2:], "string"))
        samples[[*lead, *SAMPLE_COLUMNS]].to_parquet(folder / "samples.parquet", index=False)
        scores = pd.DataFrame(list(_scores(samples, lead)))
        scores[[*lead, "judge", *SCORE_COLUMNS]].to_parquet(folder / "scores.parquet", index=False)
        self._transcripts(samples).to_parquet(folder / "transcripts.parquet", index=False)
        self._curves().to_parquet(folder / "curves.parquet", index=False)
        if self.experts:
            self._experts().to_parquet(folder / "experts.parquet", index=False)
        (folder / "recipe.yaml").write_text(_RECIPE)
        write_run(folder / "run.json", self._record())
        return folder

    def _record(self) -> RunRecord:
        training = tuple(trained(c.cell) for c in self.cells if not c.baseline)
        axes = {axis: tuple(map(str, labels)) for axis, labels in self.axes.items()}
        axes["seed"] = tuple(map(str, range(self.seeds)))
        return replace(a_record(axes=axes, cells=tuple(self.cells), training=training), **self.record)

    def _samples(self, cell: CellRecord) -> Iterator[dict[str, Any]]:
        labels = cell.labels
        rng = np.random.default_rng([sum(map(ord, cell.cell)), len(cell.cell)])
        items = np.random.default_rng(7)
        level = EFFECTS.get(cell.cell, 0.0) + sum(EFFECTS.get(str(v), 0.0) for v in labels.values())
        level += 0.12 * rng.normal() * (not cell.baseline)
        lead: dict[str, Any] = {"cell": cell.cell, "baseline": cell.baseline, "repeat": 0, "status": "ok"}
        lead |= {axis: labels.get(axis) for axis in (*self.axes, "seed")}
        lost = self.lost.get(cell.cell, 0)
        for q in range(self.questions):
            hard = 1.3 * items.normal()
            for turn in (1, 2):
                value = float(np.clip(round(6 + level - 0.5 * (turn - 1) + hard + 0.9 * rng.normal()), 1, 10))
                row = lead | {"benchmark": "mt_bench", "metric": "score", "item": str(81 + q), "cluster": str(81 + q)}
                row |= {"category": CATEGORIES[q % 8], "turn": turn, "value": value, "length": 200 + 10 * q}
                if lost > 0:
                    row |= {"value": None, "status": "refused"}
                    lost -= 1
                yield row
        ratio = float(labels.get("domain_ratio", 0.0))
        for metric, gain, shift in (("general", 1.0, -0.8 * ratio), ("domain", 1.6, 2.4 * ratio**0.5)):
            for q in range(self.tasks):
                chance = 1 / (1 + np.exp(-(gain * level + shift + 1.2 * items.normal() + 0.4)))
                row = lead | {"benchmark": "pocket", "metric": metric, "item": f"{metric}-{q}", "turn": 1, "length": 12}
                row |= {"cluster": f"{metric}-{q}", "category": f"{metric} {'ab'[q % 2]}"}
                yield row | {"value": 100.0 * float(rng.random() < chance)}

    def _transcripts(self, samples: pd.DataFrame) -> pd.DataFrame:
        frame = samples[["cell", "benchmark", "item", "category", "turn", "value", "status"]].copy()
        text = "A market opens at nine. Each of its 12 stalls sells 7 pears an hour. How many pears by noon?"
        frame["question"] = [
            f"({i}, turn {t}) {text}{self.hostile}" for i, t in zip(frame["item"], frame["turn"], strict=True)
        ]
        frame["answer"] = [
            f"By noon three hours have passed, so 12 × 7 × 3 = 252 pears.\n\nThat is what {c} says.{self.hostile}"
            for c in frame["cell"]
        ]
        frame["reference"] = ["252" if b == "pocket" else None for b in frame["benchmark"]]
        frame["verdict"] = [f"The answer is clear. [[{v}]]{self.hostile}" for v in frame["value"]]
        return frame

    def _curves(self) -> pd.DataFrame:
        rows = []
        for cell in (c for c in self.cells if not c.baseline and not c.failed):
            rng = np.random.default_rng(sum(map(ord, cell.cell)))
            start = 3.2 if cell.labels.get("method") == "sft" else 2.1
            for step in range(1, 101):
                loss = 0.7 + start * np.exp(-step / 22) + 0.06 * rng.normal()
                rate = 2e-4 * np.cos(step / 100 * np.pi / 2)
                for k, metric in enumerate(self.curves):
                    value = rate if metric == "learning_rate" else loss * (1 - 0.1 * k)
                    rows.append((cell.cell, "1 sft", step, step * 612, metric, float(value)))
        return pd.DataFrame(rows, columns=list(CURVES.columns))

    def _experts(self) -> pd.DataFrame:
        rng, rows = np.random.default_rng(5), []
        for cell in (c.cell for c in self.cells if not c.baseline and not c.failed):
            for category, layer in itertools.product(CATEGORIES, range(2)):
                shares = rng.dirichlet(np.full(self.experts, 4.0))
                entropy = float(-(shares * np.log(shares)).sum())
                rows += [(cell, "mt_bench", category, layer, k, float(s), entropy, 640) for k, s in enumerate(shares)]
        return pd.DataFrame(rows, columns=list(EXPERTS.columns))


def a_profile(dataset: str, cells: Sequence[str], text: str = "Where is it?") -> ProfileRecord:
    """A dataset of 800 rows; `text` stands in its conversations, their ids and its columns."""
    lengths = np.random.default_rng(3).lognormal(4.5, 0.8, 800).astype(int)
    pieces = (Piece("read", f"<|user|>{text}"), Piece("taught", f"{text} Here.<|end|>"), Piece("cut", text))
    return ProfileRecord(
        dataset,
        "pocket:llama",
        tuple(cells),
        {f"language{text}": {"en": 600, text: 200}},
        Profile(
            max_length=512,
            rows=800,
            used=790,
            left_out={"no response": 10},
            truncated=79,
            turns={1: 700, 2: 90, 9: 10},
            prompt=spread(lengths),
            response=spread(lengths * 3),
            repeats=8,
            pairs=((f"b{text}", f"a{text}"),),
            examples=tuple(Shown(f"row {k}{text}", 60, 41, pieces) for k in range(5)),
        ),
    )


def trained(cell: str, **changes: Any) -> TrainingRecord:
    """What its one training step used."""
    record = TrainingRecord(
        cell=cell, step="1 sft", rows=800, skipped=2, truncated=11, response_tokens=61_240, steps=100
    )
    return replace(record, **changes)


def _scores(samples: pd.DataFrame, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for (cell, benchmark, metric), frame in samples.groupby(["cell", "benchmark", "metric"], sort=False):
        lead = {c: frame[c].iloc[0] for c in columns}
        lead |= {"cell": cell, "benchmark": benchmark, "metric": metric}
        lead["judge"] = "a-judge-model" if benchmark == "mt_bench" else "program"
        parts = {"overall": frame} | dict(list(frame.groupby("category", sort=False)))
        if frame["turn"].nunique() > 1:
            parts |= {f"turn_{t}": f for t, f in frame.groupby("turn")}
        for category, part in parts.items():
            scored = part["value"].dropna().astype(float)
            clusters = scored.groupby(part.loc[scored.index, "cluster"]).mean()
            stderr = clusters.std() / len(clusters) ** 0.5 if len(clusters) > 1 else None
            value = scored.mean() if len(scored) else None
            row = lead | {"category": category, "value": value, "stderr": stderr, "n": len(scored)}
            yield row | {"total": len(part)}


_RECIPE = """\
name: pocket-teachers
description: Does a larger teacher make a better student, and does distilling its logits beat its text?
student: {model: "pocket:small?seed=0"}
axes:
  teacher: {large: {teacher: {model: "pocket:large"}}, small: {teacher: {model: "pocket:small"}}}
  method: {sft: {train: [{sft: {data: teacher}}]}, kd: {train: [{kd: {data: teacher}}]}}
  seed: [0, 1, 2]
baselines: [student, teacher]
evaluate: [{mt_bench: {}}, {pocket: {}}]
"""
