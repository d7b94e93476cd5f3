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
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from aiohttp import web

from harness.store.ledger import Ledger
from tests.cli import judged
from tests.cli.judged import in_thread
from tests.judge.batch_stand_in import BatchJudge, Line, standing_in
from tests.judge.stand_in import CANARY, fault, reply

ROOT = Path(__file__).parents[2]
KILLS = 20
LATE_S = 0.3
"""A request of a process that is gone is worked on so much later; less than the asker's `SETTLE_S`."""


@dataclass
class Killed:
    """Asks in a process, which is killed at its n-th request that begins with given words."""

    judge: BatchJudge
    ledger: Path
    command: Callable[[int], list[str]]
    """What asks, for so many questions or repeats."""
    at: str = ""
    count: int = -1
    when: str = ""
    """`before` the endpoint works on the request, which is lost; `late`: it works on it afterwards; `after`."""
    process: "subprocess.Popen[str] | None" = None
    hit: Counter[str] = field(default_factory=Counter)
    dead: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.judge.hook = self.hook

    def start(self, amount: int) -> "subprocess.Popen[str]":
        environment = {**os.environ, "TEST_JUDGE_KEY": CANARY}
        self.dead.clear()
        self.process = subprocess.Popen(
            self.command(amount), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
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

    def kill(self, amount: int, at: str, when: str, count: int = 1) -> bool:
        """Ask; whether it was killed before it had all its verdicts."""
        self.at, self.when, self.count = at, when, count
        process = self.start(amount)
        _, said = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL), said
        self.count = -1
        return process.returncode != 0

    def finish(self, amount: int) -> str:
        self.count = -1
        process = self.start(amount)
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return out

    def check_paid_once(self, calls: int) -> None:
        with Ledger(self.ledger) as ledger:
            assert sum(cost.calls for cost in ledger.costs()) == calls
            assert ledger.interrupted() == []


def value_of(number: int) -> float:
    return number % 10 + 1


def answer(line: Line) -> web.Response:
    return reply(f"[[{value_of(int(line['body']['messages'][-1]['content'].split()[-1])):.0f}]]")


@pytest.fixture
def judge() -> Iterator[BatchJudge]:
    with in_thread(standing_in(BatchJudge(answer=answer))) as stand_in:
        yield stand_in


@pytest.mark.parametrize(
    ("at", "when"),
    [("POST /batches", "after"), ("POST /batches", "late"), ("POST /batches", "before"), ("GET /files", "after")],
)
def test_a_kill_at_the_moments_that_matter(judge: BatchJudge, tmp_path: Path, at: str, when: str) -> None:
    def command(questions: int) -> list[str]:
        return [sys.executable, "-m", "tests.judge.asker", judge.url, str(killed.ledger), str(questions), "batch"]

    killed = Killed(judge, tmp_path / "ledger.sqlite", command)
    assert killed.kill(10, at, when)
    verdicts = [json.loads(line) for line in killed.finish(10).splitlines()]
    assert [(item, said["value"]) for item, said in verdicts] == [(str(k), value_of(k)) for k in range(10)]
    assert judge.submitted() == Counter({f"judge {k}": 1 for k in range(10)})
    assert len(judge.batches) == 1
    killed.check_paid_once(10)


RUN = """
from harness.cli import main
from harness.judge import batch_api
batch_api.GATHER_S, batch_api.POLL_S, batch_api.LONGEST_POLL_S, batch_api.SETTLE_S = 0.05, 0.02, 0.05, 1.0
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_kills_of_a_run_change_nothing(judge: BatchJudge, tmp_path: Path) -> None:
    """`harness run`, killed at random requests; where it has all verdicts, it is to get one more on each answer."""
    judge.answer = lambda _: reply("[[7]]")

    def command(repeats: int) -> list[str]:
        more = ("--set", "judge.batch=true", "--set", f"judge.repeats={repeats}")
        return [sys.executable, "-c", RUN, *judged.words(tmp_path, judge.url, *more)]

    killed = Killed(judge, tmp_path / "results/store/ledger.sqlite", command)
    chance, repeats, kills = random.Random(3), 1, 0
    while kills < KILLS:
        at = chance.choice(["POST /files", "POST /batches", "GET /batches", "GET /files"])
        if killed.kill(repeats, at, chance.choice(["before", "late", "after"]), chance.randint(1, 2)):
            kills += 1
        else:
            repeats += 1
    killed.finish(repeats)
    print(f"{kills} kills at {dict(killed.hit)}; {repeats} verdicts on each answer, {len(judge.batches)} batches")
    assert len(killed.hit) >= 6, "the kills hit requests of many kinds"
    assert sum(judge.submitted().values()) == repeats * judged.TURNS
    killed.check_paid_once(repeats * judged.TURNS)
    samples = pd.read_parquet(tmp_path / "results/runs/judged/samples.parquet")
    assert samples["value"].tolist() == [7.0] * (repeats * judged.TURNS)
