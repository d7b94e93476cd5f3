"""A process that asks in batches is killed at its requests: nothing is submitted twice, nothing is lost."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from harness.store.ledger import Ledger
from tests.cli.judged import in_thread
from tests.judge.batch_stand_in import BatchJudge, Line, standing_in
from tests.judge.stand_in import CANARY, fault, reply

KILLS = 20
LATE_S = 0.3
"""A request of a process that is gone is worked on so much later; less than the asker's `SETTLE_S`."""


@dataclass
class Killed:
    """Asks in a process, which is killed at its n-th request that begins with given words."""

    judge: BatchJudge
    ledger: Path
    at: str = ""
    count: int = -1
    when: str = ""
    """`before` the endpoint works on the request, which is lost; `late`: it works on it afterwards; `after`."""
    process: "subprocess.Popen[str] | None" = None
    hit: Counter[str] = field(default_factory=Counter)
    dead: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.judge.hook = self.hook

    def start(self, questions: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.judge.asker", self.judge.url, str(self.ledger), str(questions), "batch"]
        environment = {**os.environ, "TEST_JUDGE_KEY": CANARY}
        root = Path(__file__).parents[2]
        self.dead.clear()
        self.process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
        return self.process

    def hook(self, what: str, done: bool) -> "web.Response | Awaitable[None] | None":
        if self.dead.is_set():
            return fault(500, "from a process that is gone") if not done else None
        if done != (self.when == "after") or not what.startswith(self.at):
            return None
        self.count -= 1
        if self.count != 0:
            return None
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.dead.set()
        self.hit[f"{self.when} {re.sub('[0-9]+', 'N', what)}"] += 1
        return asyncio.sleep(LATE_S) if self.when == "late" else fault(500, "nobody hears it")

    def kill(self, questions: int, at: str, when: str, count: int = 1) -> bool:
        """Ask; whether it was killed before it had all its verdicts."""
        self.at, self.when, self.count = at, when, count
        process = self.start(questions)
        process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL)
        self.count = -1
        return process.returncode != 0

    def finish(self, questions: int) -> list[list[object]]:
        self.count = -1
        out, _ = self.start(questions).communicate(timeout=60)
        return [json.loads(line) for line in out.splitlines()]

    def check(self, questions: int) -> None:
        """All are there, each was submitted once, and the ledger says that nothing was paid twice."""
        verdicts = self.finish(questions)
        assert [item for item, _ in verdicts] == [str(k) for k in range(questions)]
        assert all(said["value"] == value_of(k) for k, (_, said) in enumerate(verdicts))  # type: ignore[index]
        assert self.judge.submitted() == Counter({f"judge {k}": 1 for k in range(questions)})
        with Ledger(self.ledger) as ledger:
            assert sum(cost.calls for cost in ledger.costs()) == questions
            assert ledger.interrupted() == []


def value_of(number: int) -> float:
    return number % 10 + 1


def answer(line: Line) -> web.Response:
    return reply(f"[[{value_of(int(line['body']['messages'][-1]['content'].split()[-1])):.0f}]]")


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    with in_thread(standing_in(BatchJudge(answer=answer))) as judge:
        yield Killed(judge, tmp_path / "ledger.sqlite")


@pytest.mark.parametrize(
    ("at", "when", "batches"),
    [
        ("POST /batches", "after", 1),
        ("POST /batches", "late", 1),
        ("POST /batches", "before", 1),
        ("GET /files", "after", 1),
    ],
)
def test_a_kill_at_the_moments_that_matter(killed: Killed, at: str, when: str, batches: int) -> None:
    assert killed.kill(10, at, when)
    killed.check(10)
    assert len(killed.judge.batches) == batches


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_change_nothing(killed: Killed) -> None:
    chance, questions, kills = random.Random(3), 40, 0
    while kills < KILLS:
        at = chance.choice(["POST /files", "POST /batches", "GET /batches", "GET /files", ""])
        when, count = chance.choice(["before", "late", "after"]), chance.randint(1, 2 if at else 4)
        if killed.kill(questions, at, when, count):
            kills += 1
        else:
            questions += 40
    killed.check(questions)
    print(f"{kills} kills at {dict(killed.hit)}; {questions} questions in {len(killed.judge.batches)} batches")
    assert len(killed.hit) >= 6, "the kills hit requests of many kinds"
