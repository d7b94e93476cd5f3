"""The scheduler: order, sharing, failures, slots, GPUs. Stages run in driver threads here, so that fakes reach them."""

import threading
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.run.events import Ended, Event
from harness.run.execute import Outcome, execute
from harness.stages.api import Context, Kind, Stage
from harness.stages.registry import KINDS
from harness.store.store import Store


class Fakes:
    """A stage kind that writes a file, and counts."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.now = 0
        self.most = 0
        self.meet = 1
        """So many are to be under way at once before any goes on: on a busy machine they would else miss each other."""
        self.lock = threading.Condition()

    def run(self, ctx: Context) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(ctx.params["name"])
            self.lock.notify_all()
            self.lock.wait_for(lambda: self.most >= self.meet, timeout=20)
        with self.lock:
            self.now -= 1
        if ctx.params.get("fail"):
            raise HarnessError("no such thing", where="x.jsonl:3", fix="Mend it.")
        texts = [(folder / "text").read_text() for folder in ctx.inputs.values()]
        (ctx.out / "text").write_text(ctx.params["name"] + "(" + ",".join(texts) + ")")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    made = Fakes()
    monkeypatch.setitem(KINDS, "fake", Kind("fake", 1, made.run))
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def fake(name: str, *inputs: Stage, fail: bool = False, session: str = "", gpus: int = 0, light: bool = False) -> Stage:
    params = {"name": name} | ({"fail": True} if fail else {})
    given = {str(i): stage for i, stage in enumerate(inputs)}
    return Stage("fake", 1, params, given, session=session, gpus=gpus, place="driver", light=light, title=name)


def run(store: Store, *ends: Stage, jobs: int = 1, gpus: tuple[str, ...] = ()) -> tuple[Outcome, list[Event]]:
    seen: set[str] = set()
    stages = {s.id: s for end in ends for s in end.walk(seen)}
    events: list[Event] = []
    return execute(stages, store, run="test", jobs=jobs, gpus=gpus, listen=events.append), events


def test_inputs_first_and_shared_stages_once(store: Store, fakes: Fakes) -> None:
    base = fake("base")
    left, right = fake("left", base), fake("right", base)
    end = fake("end", left, right)
    outcome, _ = run(store, end)
    assert fakes.order[0] == "base"
    assert fakes.order[-1] == "end"
    assert len(fakes.order) == 4
    assert (store.path(end.id) / "text").read_text() == "end(left(base()),right(base()))"
    assert len(outcome.built) == 4


def test_second_run_does_nothing(store: Store, fakes: Fakes) -> None:
    end = fake("end", fake("base"))
    run(store, end)
    fakes.order.clear()
    outcome, events = run(store, end)
    assert fakes.order == []
    assert events == []
    assert (outcome.built, len(outcome.found)) == ([], 2)


def test_a_change_runs_only_what_depends_on_it(store: Store, fakes: Fakes) -> None:
    base = fake("base")
    run(store, fake("end", fake("left", base), fake("right", base)))
    fakes.order.clear()
    run(store, fake("end", fake("left", base), fake("other", base)))
    assert fakes.order == ["other", "end"]


def test_evicted_input_of_a_finished_stage_is_not_rebuilt(store: Store, fakes: Fakes) -> None:
    base = fake("base")
    end = fake("end", base)
    run(store, end)
    fakes.order.clear()
    store.path(base.id).rename(store.root / "gone")
    run(store, end)
    assert fakes.order == []
    run(store, end, fake("new", base))
    assert fakes.order == ["base", "new"]


def test_a_failure_stops_only_what_stands_on_it(store: Store, fakes: Fakes) -> None:
    bad = fake("bad", fail=True)
    above, other = fake("above", bad), fake("other")
    outcome, events = run(store, above, other)
    assert list(outcome.failed) == [bad.id]
    assert outcome.blocked == [above.id]
    assert store.has(other.id)
    (failure,) = [e for e in events if isinstance(e, Ended) and e.status == "failed"]
    assert failure.error == "x.jsonl:3: no such thing\n  Mend it."


def test_the_first_failure_ends_it_all_where_that_is_asked(store: Store, fakes: Fakes) -> None:
    bad, good = fake("bad", fail=True), fake("good")
    stages = {s.id: s for s in (bad, good, fake("after", good))}
    outcome = execute(stages, store, run="r", jobs=1, gpus=[], listen=lambda _: None, fail_fast=True)
    assert fakes.order == ["bad"]
    assert list(outcome.failed) == [bad.id]
    assert len(outcome.blocked) == 2
    again = execute(stages, store, run="r", jobs=1, gpus=[], listen=lambda _: None)
    assert fakes.order == ["bad", "bad", "good", "after"]
    assert not again.blocked


@pytest.mark.parametrize(("jobs", "light", "most"), [(1, False, 1), (2, False, 2), (1, True, 4)])
def test_job_slots(store: Store, fakes: Fakes, jobs: int, light: bool, most: int) -> None:
    fakes.meet = most
    run(store, *(fake(f"s{i}", light=light) for i in range(4)), jobs=jobs)
    assert fakes.most == most


def test_one_session_runs_in_one_group(store: Store, fakes: Fakes) -> None:
    run(store, *(fake(f"s{i}", session="same") for i in range(3)), jobs=3)
    assert fakes.most == 1


def test_gpus_are_shared_out(store: Store, fakes: Fakes) -> None:
    fakes.meet = 2
    run(store, *(fake(f"s{i}", gpus=1, light=True) for i in range(4)), jobs=4, gpus=("0", "1"))
    assert fakes.most == 2


def test_more_gpus_than_there_are(store: Store, fakes: Fakes) -> None:
    with pytest.raises(HarnessError, match=r"asks for 2 GPU\(s\), this machine offers 1"):
        run(store, fake("big", gpus=2), gpus=("0",))


def test_stage_being_built_elsewhere_is_waited_for(store: Store, fakes: Fakes) -> None:
    end = fake("end")
    lock = store.lock(end.id)
    lock.__enter__()
    threading.Timer(0.5, lambda: lock.__exit__(None, None, None)).start()
    outcome, events = run(store, end)
    assert "busy" in [e.status for e in events if isinstance(e, Ended)]
    assert outcome.built == [end.id]
