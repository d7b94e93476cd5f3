"""A run that is killed fifty times, with all its processes, ends as if nothing had happened."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from harness.core.canonical import Json, digest
from harness.store.ledger import Ledger
from harness.store.store import Store
from harness.store.upkeep import damages
from tests.cli import judged
from tests.cli.command import HARNESS
from tests.durability import recipe
from tests.judge.stand_in import CANARY, Judge

KILLS = 50
REPLY_S = 0.4
AT_ONCE_S = 1.5
"""Two stages that need one verdict at the same moment may both ask: closer than this, where a restart takes longer."""
TABLES = ("scores.parquet", "scores.csv", "samples.parquet", "samples.csv", "transcripts.parquet")
MARK = "DURABILITY_ATTEMPT"


@dataclass(frozen=True)
class Moment:
    """So many seconds after the run has printed so many lines that begin with a word."""

    seconds: float
    word: bytes = b""
    lines: int = 0

    def come(self, said: bytes) -> bool:
        return (b"\n" + said).count(b"\n" + self.word) >= self.lines


def moments() -> Iterator[Moment]:
    """While a run starts (which takes a while), while its first stages are under way, when it has finished some."""
    chance = random.Random(20)
    for _ in range(KILLS):
        yield chance.choice(
            [
                Moment(chance.uniform(0.5, 6.0)),
                Moment(chance.uniform(0.05, 1.5), b"start ", 1),
                Moment(chance.uniform(0.0, 0.5), b"[", chance.randint(1, 4)),
            ]
        )


@dataclass
class Run:
    """One recipe in one results folder, started as often as needed."""

    words: list[str]
    results: Path
    attempts: int = 0
    hit: list[frozenset[str]] = field(default_factory=list)
    """The kinds of the stages that were under way at each kill."""

    def start(self) -> "subprocess.Popen[bytes]":
        self.attempts += 1
        environment = {**os.environ, judged.KEY: CANARY, MARK: self.mark}
        with self.log.open("wb") as log:
            return subprocess.Popen(self.words, stderr=log, start_new_session=True, env=environment)

    @property
    def log(self) -> Path:
        return self.results.parent / f"{self.results.name}.log"

    @property
    def mark(self) -> str:
        return f"{self.results}/{self.attempts}"

    @property
    def store(self) -> Store:
        return Store(self.results / "store")

    def finished(self) -> set[str]:
        return {path.name for path in self.store.artifacts.iterdir()}

    def kill(self, moment: Moment) -> None:
        process = self.start()
        until = time.monotonic() + 120
        while not moment.come(self.log.read_bytes()) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(moment.seconds)
        assert process.poll() is None, f"it ended before it could be killed:\n{self.log.read_text()}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.hit.append(frozenset(self.under_way(process.pid)))

    def finish(self) -> str:
        process = self.start()
        code = process.wait(600)
        assert code == 0, self.log.read_text()
        return self.log.read_text()

    def under_way(self, driver: int) -> Iterator[str]:
        """Kinds of the stages that this driver had begun and not ended."""
        if self.store.ledger.exists():
            with sqlite3.connect(self.store.ledger) as db:
                query = "SELECT kind FROM stage_runs WHERE pid = ? AND ended IS NULL"
                yield from (kind for (kind,) in db.execute(query, (driver,)))

    def verdicts(self) -> set[str]:
        """Request digests whose reply is recorded."""
        if not self.store.ledger.exists():
            return set()
        with sqlite3.connect(self.store.ledger) as db:
            return {request for (request,) in db.execute("SELECT request FROM judge_calls")}

    def leftovers(self) -> list[str]:
        """What still runs of the last attempt; what ends by itself at its driver's death is given ten seconds."""
        until = time.monotonic() + 10
        while found := list(marked(self.mark)):
            if time.monotonic() > until:
                return found
            time.sleep(0.05)
        return []


def marked(mark: str) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                yield " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


@dataclass
class Asked:
    """What the judge was asked, and when."""

    judge: Judge
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        answer = recipe.rating(REPLY_S)

        def count(body: dict[str, Json], number: int) -> object:
            self.times[digest(body["messages"])].append(time.monotonic())
            return answer(body, number)

        self.judge.answer = count  # type: ignore[assignment]

    def since(self, moment: float) -> set[str]:
        return {request for request, times in self.times.items() if times[-1] >= moment}

    def anew(self) -> Counter[str]:
        """How often each request was asked, where those that were under way at the same time count as one."""
        return Counter(
            {request: 1 + sum(b - a > AT_ONCE_S for a, b in pairwise(times)) for request, times in self.times.items()}
        )


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    with judged.judge(tmp_path / "unused.sqlite") as judge:
        written = recipe.write(tmp_path, judge.url)

        def run(name: str) -> Run:
            results = tmp_path / name
            return Run([*HARNESS, "run", str(written), "--jobs", "2", "--results", str(results)], results)

        undisturbed, killed = run("undisturbed"), run("killed")
        Asked(judge)
        undisturbed.finish()
        asked = Asked(judge)
        kill_often(killed, asked)
        before, finished, started = killed.verdicts(), killed.finished(), time.monotonic()
        said = killed.finish()
        assert not before & asked.since(started)
        assert f"executed {len(undisturbed.finished()) - len(finished)} of " in said
    check_kills_hit_work(killed)
    check_tables(undisturbed, killed)
    check_ledger(killed, asked)
    assert killed.leftovers() == []
    verify = [*HARNESS, "store", "verify", "--results", str(killed.results)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_often(killed: Run, asked: Asked) -> None:
    """After each kill: nothing runs on, nothing finished is lost or torn, nothing recorded was asked again."""
    finished: set[str] = set()
    for moment in moments():
        recorded, started = killed.verdicts(), time.monotonic()
        killed.kill(moment)
        assert killed.leftovers() == []
        assert not recorded & asked.since(started)
        assert recorded <= killed.verdicts()
        assert finished <= killed.finished()
        assert list(damages(killed.store, killed.finished() - finished)) == []
        finished = killed.finished()


def check_kills_hit_work(killed: Run) -> None:
    assert killed.attempts == KILLS + 1
    assert sum(bool(kinds) for kinds in killed.hit) >= KILLS // 3, "enough kills hit stages under way"
    kinds = Counter(kind for kinds in killed.hit for kind in kinds)
    print(f"stages under way at a kill: {dict(kinds)}")
    assert {"train", "judge"} <= kinds.keys()


def check_tables(undisturbed: Run, killed: Run) -> None:
    here, there = (run.results / "runs/durable" for run in (undisturbed, killed))
    assert undisturbed.finished() == killed.finished()
    for name in TABLES:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def check_ledger(killed: Run, asked: Asked) -> None:
    """Every question was asked once; once more for each time that the ledger lists it as possibly paid twice."""
    with Ledger(killed.store.ledger) as ledger:
        interrupted = Counter(call.request for call in ledger.interrupted())
        calls = sum(cost.calls for cost in ledger.costs())
    assert calls == len(asked.times) == len(killed.verdicts())
    too_often = {r: n for r, n in asked.anew().items() if n > 1 + interrupted[r]}
    assert not too_often
    stages_at_once = max(Counter(kind for kind in kinds)["judge"] for kinds in killed.hit) if killed.hit else 0
    assert interrupted.total() <= KILLS * recipe.CONCURRENCY * max(1, stages_at_once)
