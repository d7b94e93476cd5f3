"""`harness status --watch`: what it draws, and that it ends with the run."""

import io
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli import _watch
from harness.run.progress import Running, Snapshot, Spent
from tests.cli.command import harness


def a_snapshot(*, alive: bool = True, done: int = 3) -> Snapshot:
    kinds = {"train": Counter(done=1, running=1), "score": Counter(done=done - 1, waiting=4 - done)}
    running = {"b": Running("train [b]", time.time() - 5, 30, 100, "steps", {"loss": 1.23456})}
    return Snapshot("mine", alive, kinds, running if alive else {}, (Spent("gpt-4", 12, 0.5, 2),))


def test_a_screen() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(_watch.drawn(a_snapshot()))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "mine runs: 3 of 5 stages done" in text
    assert "train [b]" in text, "a title is no markup"
    assert "30/100 steps loss=1.235" in text
    assert "judge gpt-4: 12 calls in this run, $0.50 and 2 calls of unknown price" in text
    assert next(line for line in text.splitlines() if line.startswith("train ")).split()[:4] == ["train", "1", "1", "-"]


def test_a_line() -> None:
    assert _watch.line(a_snapshot()).startswith(
        "mine: 3 done, 1 running, 1 waiting; train [b]: 30/100 steps loss=1.235; judge gpt-4: 12 calls"
    )


def test_a_run_that_stands_still() -> None:
    assert _watch.line_of_state(a_snapshot(alive=False)) == "mine does not run now: 3 of 5 stages done"
    finished = Snapshot("mine", False, {"train": Counter(done=2)}, {}, ())
    assert _watch.line_of_state(finished) == "mine is finished: 2 of 2 stages done"


def test_it_ends_with_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen = [a_snapshot(), a_snapshot(), a_snapshot(alive=False)]
    monkeypatch.setattr(_watch, "snapshot", lambda *_: seen.pop(0))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    _watch.watch(Path(), "mine")
    assert capsys.readouterr().out.count("\n") == 3
    assert not seen


def test_without_a_run(tmp_path: Path) -> None:
    done = harness("status", "--watch", "--results", tmp_path)
    assert done.returncode == 1
    assert "harness status RUN --watch" in done.stderr
