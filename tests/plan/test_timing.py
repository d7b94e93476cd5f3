"""What is left of a plan, how long it is expected to take, and what is not known of it."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from harness.plan.build import build
from harness.plan.timing import expected, medians, recorded, timing
from harness.recipe.load import load
from harness.stages.api import Stage
from harness.store import ledger as ledgers
from harness.store.ledger import Ledger
from harness.store.store import RECORD, Store
from tests.cli.command import harness
from tests.cli.recipes import TINY, write

PAST = {("data", ""): 10.0, ("train", ""): 50.0, ("train", "kd"): 100.0, ("answer", ""): 20.0, ("score", ""): 1.0}


def stage(kind: str, name: str, *inputs: Stage, light: bool = False, **params: str) -> Stage:
    given = {str(i): made for i, made in enumerate(inputs)}
    return Stage(kind, 1, {"name": name} | params, given, light=light, title=name)


def graph() -> list[Stage]:
    """Data (10 s) for sft (50 s, its kind's) and kd (100 s); each answers (20 s) and is scored (1 s, no slot)."""
    data = stage("data", "data")
    sft, kd = stage("train", "sft", data, step="sft"), stage("train", "kd", data, step="kd")
    answers = [stage("answer", f"answers of {made.title}", made, benchmark="pocket") for made in (sft, kd)]
    scores = [stage("score", f"scores of {made.title}", made, light=True) for made in answers]
    return [data, sft, answers[0], scores[0], kd, answers[1], scores[1]]


def test_worked_by_hand() -> None:
    found = timing(graph(), PAST)
    assert [s.title for s in found.path] == ["data", "kd", "answers of kd", "scores of answers of kd"]
    assert found.path_seconds == 10 + 100 + 20 + 1
    assert found.work_seconds == 10 + 50 + 100 + 2 * 20, "scores take no job slot"
    assert found.unknown == {}
    assert found.seconds(1) == 200, "one job does all work"
    assert found.seconds(2) == 131, "two wait for the chain"


def test_what_is_done_is_no_part_of_it() -> None:
    answers, scores = graph()[2:4]
    found = timing([answers, scores], PAST)
    assert (found.path, found.path_seconds) == ((answers, scores), 21)
    assert timing([], PAST).path == ()
    assert timing([], PAST).seconds(1) == 0


def test_a_kind_that_never_ran_is_counted_and_not_guessed() -> None:
    known = {key: seconds for key, seconds in PAST.items() if key[0] != "train"}
    found = timing(graph(), known)
    assert found.unknown == {"train": 2}
    assert found.path_seconds == 10 + 0 + 20 + 1
    nothing = timing(graph(), {})
    assert nothing.unknown == {"data": 1, "train": 2, "answer": 2, "score": 2}
    assert (len(nothing.path), nothing.path_seconds, nothing.work_seconds) == (4, 0, 0), "the chain of most stages"


def test_a_class_before_its_kind() -> None:
    past = medians([("train", "kd", 90.0), ("train", "kd", 110.0), ("train", "sft", 1.0), ("data", "", 3.0)])
    assert past == {("train", "kd"): 100.0, ("train", "sft"): 1.0, ("train", ""): 90.0, ("data", ""): 3.0}
    kd, dae = stage("train", "x", step="kd"), stage("train", "x", step="dae")
    assert (expected(kd, past), expected(dae, past), expected(stage("score", "x"), past)) == (100.0, 90.0, None)


def test_what_the_store_has_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stage of the plan, of one whose artifact says what it was, of one that is gone; no failures."""
    plan, store = build(load(write(tmp_path))), Store(tmp_path / "store")
    assert recorded(plan, store) == {}
    assert not store.ledger.exists(), "a plan writes nothing"
    own = next(s for s in plan.stages.values() if s.kind == "train" and s.params["step"] == "kd")
    store.path("other").mkdir()
    identity = {"kind": "train", "params": {"step": "sft"}}
    (store.path("other") / RECORD).write_text(json.dumps({"identity": identity, "files": {}, "provenance": {}}))
    with Ledger(store.ledger) as ledger:
        for name, status, seconds in (
            (own.id, "built", 8),
            ("other", "built", 2),
            ("gone", "built", 3),
            ("x", "failed", 60),
        ):
            times = iter(
                [datetime(2026, 1, 1).isoformat(), datetime(2026, 1, 1, 0, seconds // 60, seconds % 60).isoformat()]
            )
            monkeypatch.setattr(ledgers, "now", lambda times=times: next(times))
            ledger.stage_ended(ledger.stage_started(name, "run", "train"), status)
    assert recorded(plan, store) == pytest.approx({("train", "kd"): 8, ("train", "sft"): 2, ("train", ""): 3}, abs=1e-3)


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
