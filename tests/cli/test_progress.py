"""What a run shows while it goes on: plain lines without a terminal, live bars on one."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from harness.cli._progress import Bars, Lines, show
from harness.run.events import Advanced, Ended, Started

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(time, "monotonic", stopped)
    return stopped


def test_lines_say_begin_and_end(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with Lines(2) as listen:
        listen(Started("a", "train one"))
        listen(Advanced("a", 1, 10, "steps", {"loss": 2.0}))
        listen(Ended("a", "train one", "built", 3.04))
        listen(Ended("b", "score one", "found"))
    said = capsys.readouterr()
    assert said.out == "", "stdout is for results"
    assert said.err.splitlines() == [
        "start train one",
        "[1/2] done train one (3.0 s)",
        "[2/2] was there score one (0.0 s)",
    ]


def test_lines_say_how_far_every_quarter_of_a_minute(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    listen = Lines(1)
    listen(Started("a", "train one"))
    for done in range(41):
        clock.now += 1.0
        listen(Advanced("a", done, 100, "steps", {"loss": 1.23456, "phase": "warm"}))
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "start train one",
        "  train one: 15/100 steps loss=1.235 phase=warm",
        "  train one: 31/100 steps loss=1.235 phase=warm, 69 s left",
    ]


def test_lines_say_that_a_part_is_done_and_start_anew_with_the_next(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    """lm-eval's choices are quick, its texts are slow: what is left of these is told by their own pace."""
    listen = Lines(1)
    listen(Started("a", "measure"))
    for done, total, seconds in ((80, 800, 20), (400, 800, 20), (800, 800, 5), (816, 900, 100), (832, 900, 100)):
        clock.now += seconds
        listen(Advanced("a", done, total, "requests"))
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  measure: 80/800 requests",
        "  measure: 400/800 requests, 25 s left",
        "  measure: 800/800 requests",
        "  measure: 816/900 requests",
        "  measure: 832/900 requests, 425 s left",
    ]


def test_lines_print_a_failure_whole_and_do_not_count_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    listen = Lines(3)
    listen(Started("a", "judge"))
    listen(Ended("a", "judge", "busy", 0.1))
    listen(Started("a", "judge"))
    listen(Ended("a", "judge", "failed", 0.1, "http://h: refused\n  Mend it."))
    said = capsys.readouterr().err
    assert "waits for another process judge" in said
    assert "[0/3] waits" in said
    assert "[1/3] FAILED judge (0.1 s)\nhttp://h: refused\n  Mend it.\n" in said


def test_no_terminal_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(show(1), Lines)


def test_bars_leave_markup_in_a_title_or_an_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A cell's name and a fault's text are the user's: `[/red]` in them is text."""
    with Bars(1) as listen:
        listen(Started("a", "sft loss=[/red]"))
        listen(Advanced("a", 1, 2, "steps", {"note": "[bold]x[/x]"}))
        listen(Ended("a", "sft loss=[/red]", "failed", 1.0, "[/oops] broken"))
    said = ESCAPES.sub("", capsys.readouterr().err)
    assert "FAILED sft loss=[/red]" in said
    assert "[/oops] broken" in said


PROGRAM = """
from harness.cli._progress import Bars, show
from harness.run.events import Advanced, Ended, Started

with show(2) as listen:
    assert isinstance(listen, Bars), "stderr is a terminal"
    listen(Started("a", "train one"))
    for done in range(25):
        listen(Advanced("a", done, 50, "steps", {"loss": 1.5}))
        listen.progress.refresh()
    listen(Ended("a", "train one", "built", 2.5))
    listen(Started("b", "judge one"))
    listen(Ended("b", "judge one", "failed", 0.1, "http://host: the judge refuses the key (HTTP 401)"))
print("result")
"""


def test_bars_draw_on_a_terminal() -> None:
    """Under a pseudo-terminal: bars, counts, values, time left; a failure stays on the screen; stdout is clean."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=child, stdout=subprocess.PIPE, stderr=child, env=environment, text=True
    )
    os.close(child)
    drawn = read(parent)
    out, _ = process.communicate(timeout=30)
    os.close(parent)
    assert process.returncode == 0, drawn
    assert out == "result\n"
    text = ESCAPES.sub("", drawn)
    assert "\x1b[" in drawn, "it is drawn in place"
    assert "━" in text
    assert re.search(r"train one +[━╺╸]+ +24/50 steps loss=1.5 +00:0\d", text), text
    assert re.search(r"stages +[━╺╸]+ +1/2", text), text
    assert re.search(r"stages +━+ +2/2", text), text
    assert "FAILED judge one" in text
    assert "http://host: the judge refuses the key (HTTP 401)" in text
    assert text.count("train one ") > 5, "it moves"


def read(terminal: int) -> str:
    """All that a program writes to a terminal, until it ends."""
    pieces: list[bytes] = []
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            pieces.append(piece)
    return b"".join(pieces).decode()
