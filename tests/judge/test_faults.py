"""A thousand verdicts from a server of which every third reply is bad, asked by a process that is killed twice."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from harness.bench.api import Question, samples_frame
from harness.bench.turns import turn_samples, turn_scores
from harness.judge.api import Verdict
from harness.judge.identity import request_digest
from harness.store.ledger import Ledger, Reply
from tests.cli import judged
from tests.judge.asker import CONCURRENCY
from tests.judge.stand_in import CANARY, Cut, Judge, completion, fault, reply, tasks

COUNT = 1000


async def slow() -> web.Response:
    await asyncio.sleep(2.5)
    return reply("Rating: [[9]]")


PASSING: list[Callable[[], Any]] = [
    lambda: fault(429, "slow down", **{"Retry-After": "0.02"}),
    lambda: fault(500, "boom"),
    Cut,
    lambda: Cut(b'{"id": "c", "choices": [{"index": 0, "mess'),
    slow,
    lambda: web.Response(text='{"id": "c", "choices": [{"ind', content_type="application/json"),
    lambda: completion([]),
]
"""What may pass: tried again."""
FINAL: list[tuple[str, Callable[[], web.Response]]] = [
    ("refused", lambda: reply(None, message={"refusal": "I will not."})),
    ("unparseable", lambda: reply("Rating: [[11]]")),
    ("unparseable", lambda: reply("[[3]], or rather [[4]]")),
]
"""Replies that are no verdict: recorded, and never asked for again."""


@dataclass
class Unreliable:
    """Fails 30 % of requests: one in ten questions for good, and two in nine tries of the others."""

    final: dict[str, int] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    """Replies that end a question, by its prompt."""

    def __post_init__(self) -> None:
        chance = random.Random(1)
        prompts = [task.messages[0]["content"] for task in tasks(COUNT)]
        self.final = {prompt: k % len(FINAL) for k, prompt in enumerate(chance.sample(prompts, COUNT // 10))}

    def __call__(self, body: dict[str, Any], _: int) -> Any:
        prompt = body["messages"][-1]["content"]
        self.tries[prompt] += 1
        chance = random.Random(f"{prompt} {self.tries[prompt]}")  # whatever the order of requests
        if chance.random() < 2 / 9:
            return chance.choice(PASSING)()
        self.answered[prompt] += 1
        if prompt in self.final:
            return FINAL[self.final[prompt]][1]()
        return reply(f"Rating: [[{value_of(prompt)}]]")


def value_of(prompt: str) -> int:
    return int(prompt.split()[-1]) % 10 + 1


def start(url: str, ledger: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.judge.asker", url, str(ledger), str(COUNT)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TEST_JUDGE_KEY": CANARY}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


def recorded(ledger: Path) -> set[str]:
    """Prompts whose reply is kept."""
    prompts = {request_digest(task): task.messages[0]["content"] for task in tasks(COUNT)}
    with Ledger(ledger) as opened:
        return {prompts[digest] for digest, _ in opened.recorded("judge", [(d, 0) for d in prompts])}


def ask_until(judge: Judge, ledger: Path, requests: int) -> set[str]:
    """Ask, kill -9 when the server has had so many requests, and check that nothing recorded was asked again."""
    before, first = recorded(ledger), len(judge.asked)
    process = start(judge.url, ledger)
    until = time.monotonic() + 60
    while len(judge.asked) - first < requests and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not before & set(judge.prompts()[first:])
    return recorded(ledger)


def test_a_thousand_verdicts_through_faults_and_kills(tmp_path: Path) -> None:
    ledger, server = tmp_path / "ledger.sqlite", Unreliable()
    with judged.judge(tmp_path / "unused.sqlite") as judge:
        judge.answer = server
        kept = ask_until(judge, ledger, 300)
        assert 0 < len(kept) < COUNT
        more = ask_until(judge, ledger, 400)
        assert kept < more
        assert len(more) < COUNT
        first = len(judge.asked)
        process = start(judge.url, ledger)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert not more & set(judge.prompts()[first:]), "what is recorded is not asked again"
    items, replies = zip(*map(json.loads, out.splitlines()), strict=True)
    verdicts = [Verdict(task, Reply(**reply)) for task, reply in zip(tasks(COUNT), replies, strict=True)]
    assert list(items) == [str(k) for k in range(COUNT)], "none lost, none twice, in order"
    check_verdicts(verdicts, server)
    check_ledger(ledger, server)
    assert sum(server.tries.values()) > 1.2 * COUNT, "the server was bad enough"
    for path in tmp_path.iterdir():
        assert CANARY.encode() not in path.read_bytes(), f"the key is in {path.name}"


def check_verdicts(verdicts: list[Verdict], server: Unreliable) -> None:
    """Each is what the server said of it; what is no verdict has no value and leaves the coverage below 100 %."""
    for task, verdict in zip(tasks(COUNT), verdicts, strict=True):
        prompt = task.messages[0]["content"]
        final = server.final.get(prompt)
        expected = ("ok", value_of(prompt)) if final is None else (FINAL[final][0], None)
        assert (verdict.reply.status, verdict.reply.value) == expected, prompt
    asked = [Question(str(k), "c", ("q",), 0.0, 1) for k in range(COUNT)]
    scores = turn_scores(samples_frame(turn_samples("b", asked, [], verdicts)))
    assert (scores["n"][0], scores["total"][0]) == (COUNT - COUNT // 10, COUNT)


def check_ledger(ledger: Path, server: Unreliable) -> None:
    """One row a question; a question that was answered twice is on the list of those possibly paid twice."""
    digests = {request_digest(task): task.messages[0]["content"] for task in tasks(COUNT)}
    with Ledger(ledger) as opened:
        assert sum(cost.calls for cost in opened.costs()) == COUNT
        interrupted = {digests[call.request] for call in opened.interrupted()}
    assert len(interrupted) <= 2 * CONCURRENCY
    assert server.answered.keys() == set(digests.values())
    assert {prompt for prompt, count in server.answered.items() if count > 1} <= interrupted
