"""When weights go: what a run is still to build, what others want, what comes back. Fake stages in driver threads."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.core.errors import HarnessError
from harness.plan.build import build
from harness.plan.needs import graph, to_build
from harness.recipe.load import load
from harness.record.folder import RunFolder
from harness.record.stages import STAGES, PlannedStage, write_stages
from harness.record.teachers import _size
from harness.run.events import Ended, Event
from harness.run.execute import Outcome, execute
from harness.run.keeping import Keeper
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.stages.registry import KINDS
from harness.store.store import Store
from harness.store.upkeep import damages


class House:
    """A results folder, whose runs are of fake stages: `weights` makes a model, `score` reads its inputs' models."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.store = Store(results / "store")
        self.ran: list[str] = []
        self.at: dict[str, set[str]] = {}
        """Which models were on disk when a stage ran."""
        self.said: list[str] = []

    def stage(self, ctx: Context) -> None:
        name = ctx.params["name"]
        self.ran.append(name)
        self.at[name] = self.models()
        if name in ctx.params.get("fails", ()):
            raise HarnessError("no luck")
        (ctx.out / "log.jsonl").write_text("{}")
        read = [p.read_text() for folder in ctx.inputs.values() for p in sorted(folder.glob("*/model.st"))]
        for part in ctx.params.get("parts", ()):
            (ctx.out / part).mkdir()
            (ctx.out / part / "model.st").write_text(f"{name}({','.join(read)})")

    def write(self, run: str, stages: list[Stage], keep: str, finals: dict[str, list[str]] | None = None) -> RunFolder:
        folder = RunFolder(self.results / "runs" / run)
        folder.path.mkdir(parents=True, exist_ok=True)
        planned = {s.id: PlannedStage(s.kind, s.title, tuple(g.id for g in s.inputs.values())) for s in stages}
        write_stages(folder.path, planned)
        folder.plan.write_text(json.dumps({"keep": keep, "finals": finals or {}, "cells": []}))
        return folder

    def run(self, run: str, *ends: Stage, keep: str, **more: Any) -> Outcome:
        seen: set[str] = set()
        stages = {s.id: s for end in ends for s in end.walk(seen)}
        folder = self.write(run, list(stages.values()), keep, more.get("finals"))
        keeper = Keeper(folder, self.store, more.get("listen", lambda _: None))
        keeper.sweep()
        self.ran.clear()
        outcome = execute(stages, self.store, run=run, jobs=1, gpus=[], listen=keeper)
        self.said = keeper.says()
        assert not list(damages(self.store, [p.name for p in self.store.artifacts.iterdir()]))
        return outcome

    def models(self) -> set[str]:
        """The models on disk, as `stage/part`."""
        return {
            f"{self.store.record(p.parts[-3])['identity']['params']['name']}/{p.parts[-2]}"
            for p in self.store.artifacts.glob("*/*/model.st")
        }


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(tmp_path)
    for kind, bulk in (("weights", ("model", "checkpoint-*")), ("score", ()), ("pocket_model", ("*",))):
        monkeypatch.setitem(KINDS, kind, Kind(kind, 1, made.stage, bulk=bulk))
    return made


def weights(name: str, *inputs: Stage, parts: tuple[str, ...] = ("model",), kind: str = "weights") -> Stage:
    return stage(kind, name, inputs, parts=list(parts))


def score(name: str, *inputs: Stage, fails: tuple[str, ...] = ()) -> Stage:
    return stage("score", name, inputs, fails=list(fails))


def stage(kind: str, name: str, inputs: tuple[Stage, ...], **params: Any) -> Stage:
    given = {str(i): one for i, one in enumerate(inputs)}
    return Stage(kind, 1, {"name": name} | params, given, place="driver", title=name)


def test_all_keeps_all(house: House) -> None:
    base = weights("base")
    house.run("r", score("s", weights("student", base)), keep="all")
    assert house.models() == {"base/model", "student/model"}
    assert house.said == []


def test_a_sweep_holds_one_student_at_a_time(house: House) -> None:
    base = weights("base")
    house.run("r", *(score(f"s{i}", weights(f"student{i}", base)) for i in range(5)), keep="scores")
    assert [len(house.at[f"s{i}"] - {"base/model"}) for i in range(5)] == [1] * 5
    assert "base/model" in house.at["student4"]
    assert "base/model" not in house.at["s4"], "the last student was its last use"
    assert house.models() == set()
    assert house.said[0].startswith("keep: scores: removed the weights and tokens of 6 stages, ")


def test_scores_stay_and_a_second_run_does_nothing(house: House) -> None:
    end = score("s", weights("student", weights("base")))
    house.run("r", end, keep="scores")
    assert house.models() == set()
    outcome = house.run("r", end, keep="scores")
    assert (outcome.built, len(outcome.found), house.said) == ([], 3, [])


def test_a_later_change_of_mind_is_heard_without_running_anything(house: House) -> None:
    end = score("s", weights("student", weights("base")))
    house.run("r", end, keep="all")
    outcome = house.run("r", end, keep="scores")
    assert outcome.built == []
    assert house.models() == set()
    assert len(house.said) == 1


def test_what_is_new_makes_anew_what_it_stands_on_and_no_more(house: House) -> None:
    base = weights("base")
    student, other = weights("student", base), weights("other", base)
    ends = [score("s", student), score("t", other)]
    house.run("r", *ends, keep="scores")
    outcome = house.run("r", *ends, score("new", student), keep="scores")
    assert house.ran == ["base", "student", "new"]
    assert len(outcome.built) == 3
    assert len(outcome.found) == 3
    assert house.models() == set()
    assert house.store.record(student.id)["rebuilt"][0]["changed"] == []


def test_weights_that_failed_stages_need_stay(house: House) -> None:
    student = weights("student")
    outcome = house.run("r", score("good", student), score("bad", student, fails=("bad",)), keep="scores")
    assert len(outcome.failed) == 1
    assert house.models() == {"student/model"}


def test_what_damaged_scores_are_made_from_again_stays_until_the_last(house: House) -> None:
    student = weights("student", weights("base"))
    ends = [score(name, student) for name in ("s", "t")]
    house.run("r", *ends, keep="scores")
    for end in ends:
        (house.store.path(end.id) / "log.jsonl").write_text("other")
    outcome = house.run("r", *ends, score("new"), keep="scores")
    assert not outcome.failed
    assert sorted(house.ran) == ["base", "new", "s", "student", "t"]
    assert "student/model" in house.at["s"] & house.at["t"]
    assert house.models() == set()


def test_what_damaged_weights_are_made_from_again_stays_until_the_last(house: House) -> None:
    base = weights("base")
    students = [weights(name, base) for name in ("a", "b")]

    def listen(event: Event) -> None:
        if isinstance(event, Ended) and event.title == "wait" and event.status == "built":
            for one in students:
                (house.store.path(one.id) / "model/model.st").write_text("other")

    wait = score("wait", *students)
    ends = [score(f"s{i}", one, wait) for i, one in enumerate(students)]
    outcome = house.run("r", *ends, keep="scores", listen=listen)
    assert not outcome.failed
    assert [house.ran.count(name) for name in ("base", "a", "b")] == [2, 2, 2]
    assert "base/model" in house.at["a"] & house.at["b"], "evicted once, made again, and there for both"
    assert house.models() == set()


def test_last_keeps_the_models_that_cells_end_in(house: House) -> None:
    base = weights("base", kind="pocket_model")
    teacher = weights("teacher", base)
    middle = weights("middle", base, teacher)
    student = weights("student", middle, parts=("checkpoint-0.5", "model"))
    house.run("r", score("half", student), score("s", student), keep="last", finals={student.id: ["model"]})
    assert house.models() == {"base/model", "student/model"}
    house.run("r", score("more", student), keep="last", finals={student.id: ["model"]})
    assert house.ran == ["teacher", "middle", "student", "more"], "of a model that is not all there all is made again"
    assert house.models() == {"base/model", "student/model"}


def test_from_last_to_scores(house: House) -> None:
    student = weights("student", parts=("checkpoint-0.5", "model"))
    house.run("r", score("s", student), keep="last", finals={student.id: ["model"]})
    assert house.models() == {"student/model"}
    house.run("r", score("s", student), keep="scores")
    assert house.models() == set()
    assert sorted(house.store.record(student.id)["evicted"]) == ["checkpoint-0.5/model.st", "model/model.st"]


def test_what_another_run_is_still_to_build_from_stays(house: House) -> None:
    student = weights("student")
    house.write("other", list(score("t", student).walk()), "scores")
    house.run("r", score("s", student), keep="scores")
    assert house.models() == {"student/model"}
    house.run("other", score("t", student), keep="scores")
    assert house.ran == ["t"]
    assert house.models() == set(), "the last of them removes it"


def test_what_another_run_needs_to_make_something_anew_stays(house: House) -> None:
    """Its student was evicted and its new score is to come: then the student's base is wanted whole."""
    base = weights("base")
    student = weights("student", base)
    house.run("other", score("s", student), keep="scores")
    house.write("other", [base, student, score("s", student), score("new", student)], "scores")
    house.run("r", score("b", base), keep="scores")
    assert house.models() == {"base/model"}
    house.run("other", score("s", student), score("new", student), keep="scores")
    assert house.ran == ["student", "new"]
    assert house.models() == set()


def test_what_another_run_keeps_stays(house: House) -> None:
    shared, own = weights("shared"), weights("own")
    house.run("keeps", score("s", shared), keep="all")
    house.run("r", score("t", shared), score("u", own), keep="scores")
    assert house.models() == {"shared/model"}
    house.run("keeps", score("s", shared), keep="last", finals={shared.id: ["model"]})
    house.run("r", score("t", shared), score("u", own), keep="scores")
    assert house.models() == {"shared/model"}
    (house.results / "runs/keeps/plan.json").unlink()
    house.run("r", score("t", shared), score("u", own), keep="scores")
    assert house.models() == set()


def test_a_plan_that_comes_while_we_run_is_heard(house: House) -> None:
    student = weights("student")
    late = list(score("t", student).walk())

    def listen(event: Event) -> None:
        if isinstance(event, Ended) and event.title == "student":
            house.write("late", late, "scores")

    house.run("r", score("s", student), keep="scores", listen=listen)
    assert house.models() == {"student/model"}


def test_a_plan_that_comes_between_the_look_and_the_record_finds_it_evicted_or_keeps_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = weights("student")
    late, real = list(score("t", student).walk()), Store.rewrite
    planned: list[set[str]] = []

    def rewrite(self: Store, stage: str, record: Any) -> None:
        real(self, stage, record)
        if not planned:
            house.write("late", late, "scores")
            planned.append(to_build(graph({s.id: s for s in late}), self))

    monkeypatch.setattr(Store, "rewrite", rewrite)
    house.run("r", score("s", student), keep="scores")
    assert planned == [{s.id for s in late}], "it would make the student anew"
    assert house.models() == {"student/model"}, "and finds it there"


def test_the_same_run_started_twice_with_other_cells(house: House) -> None:
    """The second start writes the plan anew: the first still hears what it wants."""
    student = weights("student")
    mine, theirs = score("mine", student), score("theirs", student)
    folder = house.write("r", [student, mine], "scores")
    keeper = Keeper(folder, house.store, lambda _: None)
    house.write("r", [student, theirs], "scores").plan.touch()
    execute({s.id: s for s in mine.walk()}, house.store, run="r", jobs=1, gpus=[], listen=keeper)
    assert house.models() == {"student/model"}


def test_an_unreadable_plan_keeps_all_and_is_said(house: House) -> None:
    student = weights("student")
    broken = house.write("broken", [student], "scores").plan
    broken.write_text("{")
    outcome = house.run("r", score("s", student), keep="scores")
    assert len(outcome.built) == 2
    assert house.models() == {"student/model"}
    (line,) = house.said
    assert "some weights stay" in line
    assert "runs/broken/plan.json:1: broken JSON" in line
    broken.write_text('{"cells": []}')
    (broken.parent / STAGES).unlink()
    house.run("r", score("t", student), keep="scores")
    assert "stages.parquet: cannot be read as stages" in house.said[0]
    assert house.models() == {"student/model"}


def test_weights_that_cannot_be_removed_end_no_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "artifact.json")

    monkeypatch.setattr(Store, "rewrite", denied)
    outcome = house.run("r", score("s", weights("student")), keep="scores")
    assert len(outcome.built) == 2
    assert "Permission denied" in house.said[0]
    assert house.models() == {"student/model"}


def test_a_run_of_an_older_plan_keeps_all(house: House) -> None:
    student = weights("student")
    house.run("old", score("s", student), keep="all")
    plan = house.results / "runs/old/plan.json"
    plan.write_text('{"cells": []}')
    house.run("r", score("t", student), keep="scores")
    assert house.models() == {"student/model"}


def test_tables_still_know_how_large_an_evicted_teacher_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(ctx: Context) -> None:
        (ctx.out / "model").mkdir()
        save_file({"w": np.zeros((3, 4), dtype=np.float32)}, ctx.out / "model/model.safetensors")

    monkeypatch.setitem(KINDS, "weights", Kind("weights", 1, write, bulk=("model",)))
    teacher = weights("teacher")
    cell: Any = SimpleNamespace(teacher=SimpleNamespace(weights=PlannedModel(teacher, "teacher", "model")))
    assert _size(cell, house.store) is None
    house.run("r", teacher, keep="all")
    assert _size(cell, house.store) == 12 / 1e9
    house.run("r", teacher, keep="scores")
    assert not (house.store.path(teacher.id) / "model").exists()
    assert _size(cell, house.store) == 12 / 1e9


RECIPE = """\
student: pocket:llama?layers=1&width=16&heads=2&seed=0
models:
  big:
    base: pocket:llama?layers=1&width=32&heads=2&seed=0
    data: {train: {pocket: {examples: 8}}}
    train: [{sft: {}}]
teacher: artifact:big
data: {train: {pocket: {examples: 40}}}
axes: {seed: [0, 1]}
seed: $seed
train: [{sft: {}}, {kd: {}}]
checkpoints: [0.25, 0.5]
evaluate: [{pocket: {questions: 8}}]
"""

Finals = Callable[..., list[tuple[str, list[str]]]]


@pytest.fixture
def finals(tmp_path: Path) -> Finals:
    def _finals(*sets: str) -> list[tuple[str, list[str]]]:
        (tmp_path / "r.yaml").write_text(RECIPE)
        plan = build(load(tmp_path / "r.yaml", sets))
        return [(plan.stages[stage].title, parts) for stage, parts in plan.finals.items()]

    return _finals


def test_what_the_cells_of_a_recipe_end_in(finals: Finals) -> None:
    assert finals() == [("kd seed=0", ["checkpoint-0.5"]), ("kd seed=1", ["checkpoint-0.5"])]
    assert finals("checkpoints=[0.5, 1]")[0] == ("kd seed=0", ["model"])
    baselines = finals("baselines=[student, teacher]")[2:]
    assert baselines == [("build pocket:llama?layers=1&width=16&heads=2&seed=0", [""]), ("sft big", ["model"])]
    assert [title for title, _ in finals("train.1.kd.select={learning_rate: [1e-3, 1e-4]}")] == [
        "select kd seed=0",
        "select kd seed=1",
    ]


def test_keep_changes_no_stage(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    plans = [build(load(tmp_path / "r.yaml", [f"keep={keep}"])) for keep in ("all", "last", "scores")]
    assert [plan.keep for plan in plans] == ["all", "last", "scores"]
    assert plans[0].stages.keys() == plans[1].stages.keys() == plans[2].stages.keys()
