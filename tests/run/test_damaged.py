"""Artifacts that are no longer what was stored: found by digest when they are read, made again, said."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from harness.run.events import Ended, Event
from harness.run.execute import Outcome, execute
from harness.stages.api import Context, Kind, Session, Stage
from harness.stages.registry import KINDS
from harness.stages.runner import Damaged, read_order, run_stage
from harness.store.store import Store

Run = Callable[..., tuple[Outcome, list[Ended]]]


def _text(ctx: Context) -> None:
    texts = [(folder / "text").read_text() for _, folder in sorted(ctx.inputs.items())]
    (ctx.out / "text").write_text(ctx.params["name"] + "(" + ",".join(texts) + ")")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setitem(KINDS, "text", Kind("text", 1, _text))
    return Store(tmp_path / "store")


@pytest.fixture
def run(store: Store) -> Run:
    def _run(*ends: Stage) -> tuple[Outcome, list[Ended]]:
        seen: set[str] = set()
        stages = {s.id: s for end in ends for s in end.walk(seen)}
        events: list[Event] = []
        outcome = execute(stages, store, run="test", jobs=2, gpus=(), listen=events.append)
        return outcome, [e for e in events if isinstance(e, Ended) and e.status == "damaged"]

    return _run


def text(name: str, *inputs: Stage) -> Stage:
    given = {str(i): stage for i, stage in enumerate(inputs)}
    return Stage("text", 1, {"name": name}, given, place="driver", title=f"text {name}")


def flip(path: Path) -> None:
    """One bit."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def empty(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize(
    ("file", "damage"),
    [*product(["text"], [flip, cut, empty, Path.unlink]), *product(["artifact.json"], [cut, empty, Path.unlink])],
)
def test_a_damaged_input_is_rebuilt(store: Store, run: Run, damage: Callable[[Path], None], file: str) -> None:
    base = text("base")
    run(text("end", base))
    damage(store.path(base.id) / file)
    outcome, said = run(text("new", base))
    assert (store.path(base.id) / "text").read_text() == "base()"
    assert sorted(outcome.built) == sorted([base.id, text("new", base).id])
    assert not outcome.failed
    gone = damage is Path.unlink and file == "artifact.json"  # then it is simply not there
    assert [e.input for e in said] == ([] if gone else [base.id])


def test_it_is_said_what_is_damaged(store: Store, run: Run) -> None:
    base = text("base")
    run(base)
    flip(store.path(base.id) / "text")
    _, (said,) = run(text("new", base))
    assert "changed: text" in said.error


def test_a_stage_finds_what_was_damaged_while_the_run_went_on(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, spoiler = text("base"), text("spoiler")

    def spoiling(ctx: Context) -> None:
        if ctx.params["name"] == "spoiler":
            flip(store.path(base.id) / "text")
        _text(ctx)

    run(base)
    monkeypatch.setitem(KINDS, "text", Kind("text", 1, spoiling))
    end = text("end", spoiler, base)
    outcome, said = run(end)
    assert [(e.stage, e.input) for e in said] == [(end.id, base.id)]
    assert (store.path(end.id) / "text").read_text() == "end(spoiler(),base())"
    assert base.id in outcome.built
    assert base.id not in outcome.found


def test_what_is_gone_below_a_damaged_one_is_made_again_too(store: Store, run: Run) -> None:
    deep = text("deep")
    base = text("base", deep)
    run(base)
    store.path(deep.id).rename(store.root / "gone")
    flip(store.path(base.id) / "text")
    outcome, _ = run(text("new", base))
    assert outcome.built[:2] == [deep.id, base.id]


def test_a_disk_that_damages_what_it_is_given_is_not_tried_for_ever(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Store.commit

    def damaging(self: Store, stage_id: str, *given: object) -> None:
        commit(self, stage_id, *given)  # type: ignore[arg-type]
        flip(self.path(stage_id) / "text")

    monkeypatch.setattr(Store, "commit", damaging)
    base, end = text("base"), text("end", text("base"))
    outcome, said = run(end)
    assert list(outcome.failed) == [end.id]
    assert "changed: text" in outcome.failed[end.id]
    assert [e.input for e in said] == [base.id, base.id]


def test_a_stage_that_is_run_alone_says_so(store: Store, run: Run) -> None:
    base = text("base")
    end = text("end", base)
    run(end)
    store.path(end.id).rename(store.root / "gone")
    flip(store.path(base.id) / "text")
    with pytest.raises(Damaged, match=r"text base, changed: text\n.*--repair"):
        run_stage(store, read_order(store, end.id), Session(), lambda *_, **__: None)


def test_another_version_of_a_kind_is_not_run(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "text", Kind("text", 2, _text))
    outcome, _ = run(text("base"))
    assert "version 1 of its kind, and the harness here makes version 2" in outcome.failed[text("base").id]
