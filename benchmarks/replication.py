"""Do verdicts hold when everything is drawn again? Known comparisons in the pocket world, each drawn many times.

    OMP_NUM_THREADS=1 nice python benchmarks/replication.py --results DIR [--draws 20]

The quickstart's models and data, somewhat smaller, with `draws`: in each draw the training, the data and the teachers
are made anew, and in each draw every training has three seeds. About three minutes a draw on one core; what is stopped
goes on when it is started again with the same DIR.
"""

import argparse
import datetime
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit

from harness.bench.audit import scored_rows
from harness.plan.build import Plan, PlannedCell, build
from harness.recipe import load
from harness.recipe.draws import DRAW
from harness.recipe.source import read
from harness.run.execute import execute
from harness.stages import score, score_teacher
from harness.stages.api import Stage
from harness.stats.intervals import Difference, paired_difference
from harness.stats.spread import Floats, Rows
from harness.store.store import Store
from harness.teachers.api import all_scores
from harness.teachers.settings import TeachersSettings

ROOT = Path(__file__).parents[1]
OUT = ROOT / "results/reference/replication"
NAME = "replication"
STEPS = {"strong": 340, "weak": 250, "student": 300}
"""Of each model's training."""
SEEDS = range(3)
NULL_SEEDS = range(3, 6)
"""Of SFT, for the comparison of SFT with itself."""
CELLS = {
    ("strong", "sft", "x1"): [*SEEDS, *NULL_SEEDS],
    ("strong", "kd", "x1"): [*SEEDS],
    ("strong", "sft", "x4"): [*SEEDS],
    ("weak", "sft", "x1"): [*SEEDS],
    ("strong", "dae0", "general"): [*SEEDS],
    ("strong", "dae10", "general"): [*SEEDS],
}
"""(teacher, method, data) -> seeds: the sweep."""


def recipe(draws: int) -> dict[str, Any]:
    """The study as one recipe, from the quickstart's parts."""
    made: dict[str, Any] = dict(read(ROOT / "recipes/quickstart.yaml")[0].data)
    for name, steps in STEPS.items():
        made["models"][name]["train"][0]["sft"] |= {"max_steps": steps, "save_every": steps}
    how = {"max_steps": 100, "learning_rate": 4e-3, "warmup_steps": 10, "save_every": 100, "micro_batch_size": 32}
    align = {"expert": "artifact:strong", "targets": "cached", **how}
    axes = made["axes"]
    axes["method"] = [
        {"sft": {"sft": {"data": "teacher", **how}}},
        {"kd": {"kd": {"data": "teacher", **how}}},
        {"dae0": {"dae": {"ratio": 0.0, **align}}},
        {"dae10": {"dae": {"ratio": 0.1, **align}}},
    ]
    axes["data"] += [{"general": {"pocket": {"examples": 400, "seed": 4}}}]
    axes["seed"] = [*SEEDS, *NULL_SEEDS]
    labels = {axis: [next(iter(value)) for value in axes[axis]] for axis in ("teacher", "method", "data")}
    points = [
        (t, m, d, s) for t in labels["teacher"] for m in labels["method"] for d in labels["data"] for s in axes["seed"]
    ]
    pruned = [point for point in points if point[3] not in CELLS.get(point[:3], ())]
    made |= {
        "name": NAME,
        "draws": draws,
        "seed": "$seed",
        "baselines": [],
        "data": {"train": "$data", "domain": {"pocket": {"examples": 200, "domain_ratio": 1.0, "seed": 5}}},
        "exclude": [dict(zip(("teacher", "method", "data", "seed"), point, strict=True)) for point in pruned],
        "teachers": {"scores": ["car"], "reward": {"program": True}},
    }
    return made


def run(results: Path, draws: int) -> None:
    """Build the stages that are not there, a draw after the other; no report is made of them."""
    plan, store = build(load(recipe(draws))), Store(results / "store")
    for draw, cells in by_draw(plan).items():
        stages = {s.id: s for cell in cells for end in ends(cell) for s in end.walk() if not s.is_leaf}
        began = time.perf_counter()
        outcome = execute(stages, store, run=NAME, jobs=1, gpus=[], listen=lambda event: None)
        if outcome.failed:
            raise SystemExit(f"draw {draw}: {outcome.failed}")
        print(f"draw {draw}: {len(outcome.built)} stages in {time.perf_counter() - began:.0f} s", flush=True)


def ends(cell: PlannedCell) -> list[Stage]:
    """What the study reads of a cell: its scores and its teacher's."""
    return [*(e.score for e in cell.evaluated), *([cell.teacher.stage] if cell.teacher is not None else [])]


def by_draw(plan: Plan) -> dict[int, list[PlannedCell]]:
    """The cells of each draw."""
    cells: dict[int, list[PlannedCell]] = {}
    for planned in plan.cells:
        cells.setdefault(int(planned.cell.labels.get(DRAW, 0)), []).append(planned)
    return cells


Scored = dict[tuple[int, str, str, str, int], dict[str, Rows]]
"""(draw, teacher, method, data, seed) -> metric -> the scored answers."""
Cell = tuple[str, str, str]


@dataclass(frozen=True)
class Study:
    """What the finished draws hold."""

    draws: list[int]
    scored: Scored
    car: dict[int, str]
    """Draw -> the teacher with the higher CAR."""

    def rows(self, cell: Cell, seeds: range, draws: Sequence[int], metric: str) -> list[Rows]:
        """The replicates of a cell."""
        return [self.scored[draw, *cell, seed][metric] for draw in draws for seed in seeds]


def read_study(results: Path, draws: int) -> Study:
    """The draws of the recipe whose cells are all scored in the store."""
    plan, store = build(load(recipe(draws))), Store(results / "store")
    cells = by_draw(plan)
    done = [draw for draw, of in cells.items() if all(store.has(end.id) for cell in of for end in ends(cell))]
    scored: Scored = {}
    car = {}
    for draw in done:
        value = {}
        for planned in cells[draw]:
            labels, samples = planned.cell.labels, score.read(store.path(planned.evaluated[0].score.id))[0]
            key = (draw, labels["teacher"], labels["method"], labels["data"], int(labels["seed"]))
            scored[key] = {str(m): replace(scored_rows(f), draw=str(draw)) for m, f in samples.groupby("metric")}
            if labels["method"] == "sft" and labels["data"] == "x1" and planned.teacher is not None:
                parts = score_teacher.read(store.path(planned.teacher.stage.id))
                means = parts.loc[parts["status"] == "ok", ["car.0", "car.1"]].mean().to_numpy()
                value[labels["teacher"]] = float(all_scores()["car"].combine(means, TeachersSettings()))
        car[draw] = max(value, key=lambda teacher: value[teacher])
    return Study(done, scored, car)


def sides(
    study: Study, question: str, draws: Sequence[int], metric: str, seeds: range
) -> tuple[list[Rows], list[Rows]]:
    """What is compared in some draws: the replicates of both sides."""
    sft = ("strong", "sft", "x1")
    match question:
        case "KD against SFT":
            return study.rows(("strong", "kd", "x1"), seeds, draws, metric), study.rows(sft, seeds, draws, metric)
        case "four times the data":
            return study.rows(("strong", "sft", "x4"), seeds, draws, metric), study.rows(sft, seeds, draws, metric)
        case "SFT against SFT":
            other = range(NULL_SEEDS.start, NULL_SEEDS.start + len(seeds))
            return study.rows(sft, seeds, draws, metric), study.rows(sft, other, draws, metric)
        case "DAE 10 % against 0 %":
            ten, zero = (("strong", method, "general") for method in ("dae10", "dae0"))
            return study.rows(ten, seeds, draws, metric), study.rows(zero, seeds, draws, metric)
    better = [r for d in draws for r in study.rows((study.car[d], "sft", "x1"), seeds, [d], metric)]
    other = {"strong": "weak", "weak": "strong"}
    worse = [r for d in draws for r in study.rows((other[study.car[d]], "sft", "x1"), seeds, [d], metric)]
    return better, worse


def difference(study: Study, question: str, draws: Sequence[int], metric: str, seeds: range = SEEDS) -> Difference:
    """The difference over some draws as the harness computes it."""
    found = paired_difference(*sides(study, question, draws, metric, seeds))
    assert found is not None, "every cell has answers"
    return found


@dataclass
class Tally:
    """What intervals from some draws were worth against the draws that they have not seen."""

    intervals: int = 0
    strict: int = 0
    """Hold the mean over the other draws as it stands."""
    held: int = 0
    """Hold it after they are widened by that mean's own error."""
    said: int = 0
    """Call a difference: p below 0.05."""
    same: int = 0
    """Of these, those with the sign of the mean over the other draws."""
    again: list[float] = field(default_factory=list)
    """Of these, the share of other draws that have the sign."""
    predicted: list[float] = field(default_factory=list)
    """The share of other draws that lie in the interval for a new draw."""

    def add(self, found: Difference, others: Floats, every: Floats) -> None:
        """Hold an interval against the differences of the other draws; `every` draw says how far draws lie apart."""
        mean = float(others.mean())
        error = float(stdtrit(len(every) - 1, 0.975) * every.std(ddof=1) / len(others) ** 0.5)
        self.intervals += 1
        if found.low is not None and found.high is not None:
            own = (found.high - found.low) / 2
            wide = (own**2 + error**2) ** 0.5
            self.strict += abs(found.value - mean) <= own
            self.held += abs(found.value - mean) <= wide
        if found.p is not None and found.p < 0.05:
            self.said += 1
            self.same += found.value * mean > 0
            self.again.append(float(np.mean(found.value * others > 0)))
        if found.new_draw is not None:
            low, high = found.new_draw
            self.predicted.append(float(np.mean((others >= low) & (others <= high))))


DESIGNS = {
    "3 seeds on one draw": (1, SEEDS),
    "3 draws, a seed in each": (3, range(1)),
    "3 draws, 3 seeds in each": (3, SEEDS),
    "5 draws, a seed in each": (5, range(1)),
    "5 draws, 3 seeds in each": (5, SEEDS),
}
"""Design -> draws and the seeds in each."""
QUESTIONS = (
    "KD against SFT",
    "four times the data",
    "SFT against SFT",
    "DAE 10 % against 0 %",
    "better teacher by CAR",
)
METRICS = ("general_score", "domain_score")
LEFT = 2
"""Draws that an interval is held against, at least."""
MOST = 300
"""Subsets of the draws that are looked at, at random where there are more."""


def subsets(draws: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Sets of draws of a size."""
    every = list(combinations(draws, size))
    chosen = np.random.default_rng(size).permutation(len(every))[:MOST]
    return [every[place] for place in sorted(chosen)]


def tallies(study: Study) -> pd.DataFrame:
    """A row for each design, question and metric."""
    rows = []
    for question, metric in product(QUESTIONS, METRICS):
        alone = {d: difference(study, question, [d], metric).value for d in study.draws}
        for design, (size, seeds) in DESIGNS.items():
            tally = Tally()
            if len(study.draws) - size < LEFT:
                continue
            for some in subsets(study.draws, size):
                others = np.array([value for d, value in alone.items() if d not in some])
                tally.add(difference(study, question, some, metric, seeds), others, np.array(list(alone.values())))
            rows.append({"design": design, "question": question, "metric": metric, **vars(tally)})
    return pd.DataFrame(rows)


def shown(frame: pd.DataFrame) -> str:
    """The tallies by design, over questions that are no null, and the null beside them."""
    lines = [
        "| design | intervals | hold the mean over the other draws | the same, widened by its error | called different "
        "| right in sign | hold in a new draw | a new draw lies where it is expected | null called different |",
        "|---|" + "---:|" * 8,
    ]
    for design in DESIGNS:
        mine = frame[frame["design"] == design]
        null = mine[mine["question"] == "SFT against SFT"]
        real = mine[mine["question"] != "SFT against SFT"]
        all_n, said = mine["intervals"].sum(), real["said"].sum()
        if not all_n:  # too few draws are finished
            continue
        again = [share for shares in real["again"] for share in shares]
        predicted = [share for shares in mine["predicted"] for share in shares]
        parts = [
            f"{all_n}",
            _percent(mine["strict"].sum(), all_n),
            _percent(mine["held"].sum(), all_n),
            _percent(said, real["intervals"].sum()),
            _percent(real["same"].sum(), said),
            _percent(sum(again), len(again)),
            _percent(sum(predicted), len(predicted)),
            _percent(null["said"].sum(), null["intervals"].sum()),
        ]
        lines.append(f"| {design} | " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def whole(study: Study) -> str:
    """Each question over all draws: the mean, how far apart draws are, and where the variance comes from."""
    lines = [
        "| question | metric | over all draws | smallest and largest draw | sd of draws | expected in a new draw "
        "| questions | seeds within draws | draws: teacher, data |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for question, metric in product(QUESTIONS, METRICS):
        found = difference(study, question, study.draws, metric)
        of_draws = np.array([difference(study, question, [d], metric).value for d in study.draws])
        shares = found.spread.shares()
        total = sum(shares.values())
        low, high = found.new_draw or (np.nan, np.nan)
        parts = [
            question,
            metric.replace("_", " "),
            f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]",
            f"{of_draws.min():+.1f} to {of_draws.max():+.1f}",
            f"{of_draws.std(ddof=1):.1f}",
            f"{low:+.1f} to {high:+.1f}",
            *(_percent(shares.get(part, 0.0), total) for part in ("questions", "seeds", "replicates")),
        ]
        lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines) + "\n"


HEAD = """\
# Do verdicts hold when everything is drawn again?

{date}, `python benchmarks/replication.py --results DIR --draws {asked}`, of which {draws} draws of {cells}
cells are finished; torch {torch}, {processor}. Models and data of the quickstart, somewhat smaller; in each draw the
training, the data and both teachers are made anew, and every training has three seeds. Differences in % correct, on 240
questions that all draws share. [draws.csv](draws.csv) has each cell's score.

## Each comparison over all draws

The last three columns: from where the variance of the mean comes.

{whole}
## What a smaller study would have said

Every set of that many draws (at most {most} a comparison), both metrics, all comparisons, is held against the draws
that are not in it. Their mean has an error of its own, since there are few of them: a right interval of 95 % holds it
less often than that, and the next column takes its error into account, from the spread of all draws. "Hold in a new
draw" is the share of other draws with the sign of a difference that was called, p below 0.05 uncorrected. Sets overlap,
so that the percentages are less certain than their number of intervals says: {draws} draws bound them. The null is SFT
against SFT with other seeds. All draws answer the same questions, while the intervals are about other questions, too:
where questions have a large share of the variance, they hold more than they would with other questions.

{tally}
"""


def write(study: Study, asked: int) -> None:
    """draws.csv, tally.csv and README.md."""
    OUT.mkdir(parents=True, exist_ok=True)
    names = ("draw", "teacher", "method", "data", "seed")
    scores = [
        dict(zip(names, key, strict=True)) | {m: round(float(rows[m].values.mean()), 2) for m in METRICS}
        for key, rows in study.scored.items()
    ]
    pd.DataFrame(scores).assign(car=lambda f: f["draw"].map(study.car)).to_csv(OUT / "draws.csv", index=False)
    frame = tallies(study)
    frame.drop(columns=["again", "predicted"]).to_csv(OUT / "tally.csv", index=False)
    head = HEAD.format(
        date=datetime.date.today().isoformat(),
        asked=asked,
        draws=len(study.draws),
        cells=sum(map(len, CELLS.values())),
        torch=torch.__version__,
        processor=f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        whole=whole(study),
        most=MOST,
        tally=shown(frame),
    )
    (OUT / "README.md").write_text(head)


def main() -> None:
    """Run, and write what the finished draws show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="where its store and run lie, outside the tree")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--no-run", action="store_true", help="only write what is finished")
    told = parser.parse_args()
    if not told.no_run:
        run(told.results, told.draws)
    write(read_study(told.results, told.draws), told.draws)
    print((OUT / "README.md").read_text())


if __name__ == "__main__":
    main()
