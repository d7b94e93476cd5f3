"""What is left of a plan, how long it is expected to take, and what is not known of it."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from harness.plan.build import build
from harness.plan.timing import Known, alike, expected, known, medians, recorded, timing
from harness.plan.work import Span
from harness.recipe.load import load
from harness.stages.api import Stage
from harness.store import ledger as ledgers
from harness.store.ledger import Ledger
from harness.store.provenance import hardware
from harness.store.store import RECORD, Store
from tests.cli.command import harness
from tests.cli.recipes import TINY, write

SECONDS = {"data": 10.0, "sft": 50.0, "kd": 100.0, "answer": 20.0, "score": 1.0}
"""Of a stage of `graph`, by its step, else its kind."""


def stage(kind: str, name: str, *inputs: Stage, light: bool = False, **params: str) -> Stage:
    given = {str(i): made for i, made in enumerate(inputs)}
    return Stage(kind, 1, {"name": name} | params, given, light=light, title=name)


def graph() -> list[Stage]:
    """Data (10 s) for sft (50 s) and kd (100 s); each answers (20 s) and is scored (1 s, no slot)."""
    data = stage("data", "data")
    sft, kd = stage("train", "sft", data, step="sft"), stage("train", "kd", data, step="kd")
    answers = [stage("answer", f"answers of {made.title}", made, benchmark="pocket") for made in (sft, kd)]
    scores = [stage("score", f"scores of {made.title}", made, light=True) for made in answers]
    return [data, sft, answers[0], scores[0], kd, answers[1], scores[1]]


def spans(stages: list[Stage], seconds: Mapping[str, float] = SECONDS) -> dict[str, Span]:
    """Of each stage that is known: half as long at least, twice as long at most."""
    named = {made.id: seconds.get(str(made.params.get("step") or made.kind)) for made in stages}
    return {id_: Span(value / 2, value, 2 * value) for id_, value in named.items() if value is not None}


def test_worked_by_hand() -> None:
    found = timing(graph(), spans(graph()))
    assert [s.title for s in found.path] == ["data", "kd", "answers of kd", "scores of answers of kd"]
    assert found.path_seconds == 10 + 100 + 20 + 1
    assert found.work_seconds == 10 + 50 + 100 + 2 * 20, "scores take no job slot"
    assert found.unknown == {}
    assert found.seconds(1) == 200, "one job does all work"
    assert found.seconds(2) == 131, "two wait for the chain"
    assert found.span(1) == Span(100, 200, 400)


def test_what_is_done_is_no_part_of_it() -> None:
    answers, scores = graph()[2:4]
    found = timing([answers, scores], spans(graph()))
    assert (found.path, found.path_seconds) == ((answers, scores), 21)
    assert timing([], {}).path == ()
    assert timing([], {}).seconds(1) == 0


def test_what_nothing_tells_is_counted_and_not_guessed() -> None:
    without = {name: seconds for name, seconds in SECONDS.items() if name not in ("sft", "kd")}
    found = timing(graph(), spans(graph(), without))
    assert found.unknown == {"train": 2}
    assert found.path_seconds == 10 + 0 + 20 + 1
    nothing = timing(graph(), {})
    assert nothing.unknown == {"data": 1, "train": 2, "answer": 2, "score": 2}
    assert (len(nothing.path), nothing.path_seconds, nothing.work_seconds) == (4, 0, 0), "the chain of most stages"


def test_a_stage_without_a_model_takes_what_its_class_takes_and_else_what_its_kind_does() -> None:
    past = medians([("score", "a", False, 90.0), ("score", "a", False, 110.0), ("score", "b", False, 1.0)])
    assert past == {("score", "a"): 100.0, ("score", "b"): 1.0, ("score", ""): 90.0}
    seconds = [expected(stage("score", "x", benchmark=name), past, lambda _: None) for name in ("a", "c")]
    assert seconds == [100.0, 90.0]
    assert expected(stage("data", "x"), past, lambda _: None) is None


WORLD = {
    "seed 0": Known("pocket_model", {"spec": {"layers": 2, "width": 64, "experts": 1, "seed": 0}}, {}),
    "seed 1": Known("pocket_model", {"spec": {"layers": 2, "width": 64, "experts": 1, "seed": 1}}, {}),
    "wide": Known("pocket_model", {"spec": {"layers": 2, "width": 128, "experts": 1, "seed": 0}}, {}),
    "tuned": Known("train", {}, {"student": "seed 1"}),
    "data": Known("dataset", {"settings": {"limit": 9}, "data_seed": 0}, {}),
    "data drawn anew": Known("dataset", {"settings": {"limit": 9}, "data_seed": 1}, {}),
    "more data": Known("dataset", {"settings": {"limit": 99}, "data_seed": 0}, {}),
}


def trained(student: str = "seed 0", data: str = "data", **changed: object) -> str:
    settings = {"max_length": 64, "learning_rate": 1.0, "epochs": 1} | changed
    made = Known("train", {"step": "sft", "settings": settings}, {"student": student, "data": data})
    return alike(made, WORLD.get)


def test_seeds_and_learning_rates_change_no_time() -> None:
    assert trained() == trained("seed 1") == trained("tuned") == trained(data="data drawn anew")
    assert trained() == trained(learning_rate=2.0)


def test_another_size_length_or_amount_of_data_is_another_time() -> None:
    kinds = [trained(), trained("wide"), trained(max_length=2048), trained(data="more data"), trained("gone")]
    assert len(set(kinds)) == len(kinds)


def test_a_training_in_the_store_says_nothing_of_a_larger_one() -> None:
    """What pocket trainings took is no time of a model that nobody trained here."""
    past = medians([("train", trained(), True, 3.0)])
    model = Stage("pinned", 1, {"digest": "7B"}, path=Path("7B"))
    large = Stage("train", 6, {"step": "sft", "settings": {"max_length": 64}}, {"student": model})
    assert expected(large, past, WORLD.get) is None


def test_what_the_store_has_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stage of the plan and of one whose artifact says what it was, on this machine; not of another machine's, of
    one that is gone, or of a failure."""
    plan, store = build(load(write(tmp_path))), Store(tmp_path / "store")
    assert recorded(plan, store)[0] == {}
    assert not store.ledger.exists(), "a plan writes nothing"
    one = next(s for s in plan.stages.values() if s.kind == "train" and s.params["step"] == "kd")
    elsewhere = hardware() | {"cpu": "another"}
    for name, where in ((one.id, hardware()), ("other", hardware()), ("elsewhere", elsewhere)):
        store.path(name).mkdir()
        identity = {"kind": "train", "params": {"step": "sft"}, "inputs": {"student": "x"}}
        record = {"identity": identity, "files": {}, "provenance": {"hardware": where}}
        (store.path(name) / RECORD).write_text(json.dumps(record))
    runs = [(one.id, "built", 8), ("other", "built", 2), ("elsewhere", "built", 9), ("gone", "built", 3)]
    with Ledger(store.ledger) as ledger:
        for name, status, seconds in (*runs, ("x", "failed", 60)):
            times = iter(
                [datetime(2026, 1, 1).isoformat(), datetime(2026, 1, 1, 0, seconds // 60, seconds % 60).isoformat()]
            )
            monkeypatch.setattr(ledgers, "now", lambda times=times: next(times))
            ledger.stage_ended(ledger.stage_started(name, "run", "train"), status)
    past, lookup = recorded(plan, store)
    like = Known("train", {"step": "sft"}, {"student": "x"})
    mine = {("train", alike(known(one), lookup)): 8, ("train", alike(like, lookup)): 2, ("train", ""): 3}
    assert past == pytest.approx(mine, abs=1e-3)
    assert expected(one, past, lookup) == pytest.approx(8, abs=1e-3)


def test_the_command(tmp_path: Path) -> None:
    recipe = write(tmp_path, TINY)
    words = ["plan", recipe, "--results", tmp_path / "results", "--format", "json"]
    whole, part = (harness(*words, *more) for more in ([], ["--only", "method=kd,seed=0", "--jobs", "2"]))
    assert (whole.returncode, part.returncode) == (0, 0), whole.stderr + part.stderr
    for done in (whole, part):
        total = json.loads(done.stdout)[-1]
        first, path, unknown, *_ = done.stderr.splitlines()
        assert first == f"{total['asked']} stages asked, {total['unique']} unique, 0 already done"
        assert path.startswith("critical path: ")
        assert path.count(" > ") >= 4
        assert unknown.startswith("time not known, since no stage of the kind has run here yet: dataset (")
        assert "expected with" not in done.stderr, "nothing is known, so nothing is said"
    assert json.loads(part.stdout)[-1]["unique"] < json.loads(whole.stdout)[-1]["unique"]
