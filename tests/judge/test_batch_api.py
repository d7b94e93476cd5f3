"""Verdicts through the Batch API of a stand-in: the same ledger, nothing submitted twice, nothing lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError, Incomplete
from harness.judge import batch_api, batch_lines, client
from harness.judge.api import Verdict
from harness.judge.client import ask
from harness.judge.identity import request_digest
from harness.judge.protocol import find_protocol
from harness.judge.settings import JudgeSettings
from harness.store.batches import Batches
from harness.store.ledger import Ledger
from tests.judge.batch_stand_in import BatchJudge, Line, standing_in
from tests.judge.stand_in import CANARY, fault, reply, tasks


@dataclass
class Asker:
    """Asks the stand-in, with one ledger."""

    judge: BatchJudge
    ledger: Ledger
    told: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, count: int, **values: Any) -> list[Verdict]:
        given = {"model": "gpt-4.1", "base_url": self.judge.url, "batch": True, "api_key_env": "TEST_JUDGE_KEY"}
        return await ask(
            tasks(count),
            JudgeSettings(**{"retries": 2, **given, **values}),
            find_protocol("rating", "text"),
            judge_digest="judge",
            ledger=self.ledger,
            progress=lambda done, total, unit, **more: self.told.append({"done": done, **more}),
        )

    def recorded(self) -> int:
        return sum(cost.calls for cost in self.ledger.costs())


@pytest.fixture
async def asker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asker]:
    monkeypatch.setenv("TEST_JUDGE_KEY", CANARY)
    for name, seconds in (("GATHER_S", 0.02), ("POLL_S", 0.01), ("LONGEST_POLL_S", 0.02), ("SETTLE_S", 0.02)):
        monkeypatch.setattr(batch_api, name, seconds)
    monkeypatch.setattr(client, "_BATCH_WAIT_S", 0.01)
    async with standing_in(BatchJudge()) as judge:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            yield Asker(judge, ledger)
            assert ledger.interrupted() == [], "what is in a batch is paid once"
    for path in tmp_path.iterdir():
        assert CANARY.encode() not in path.read_bytes()


def number(line: Line) -> int:
    """Of the question in a line."""
    return int(line["body"]["messages"][-1]["content"].split()[-1])


async def test_one_batch_and_the_ledger_of_live_calls(asker: Asker) -> None:
    asker.judge.answer = lambda line: reply(f"[[{number(line) % 10 + 1}]]")
    verdicts = await asker.ask(25)
    assert [v.reply.value for v in verdicts] == [k % 10 + 1 for k in range(25)], "whatever the order of the file"
    assert len(asker.judge.batches) == 1
    (line, *_) = asker.judge.lines(asker.judge.batches["batch_0"])
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["model"] == "gpt-4.1"
    assert verdicts[0].reply.price_usd == pytest.approx((100 * 1 + 10 * 4) / 1e6), "half of the list price"
    assert {"done": 0, "usd": 0.0, "batch": "in_progress 0/25"} in asker.told
    assert await asker.ask(25) == verdicts
    assert len(asker.judge.batches) == 1
    assert asker.ledger._db.execute("SELECT count(*) FROM batch_calls").fetchone() == (0,)


async def test_requests_that_begin_alike_follow_each_other(asker: Asker) -> None:
    await asker.ask(12)
    prompts = [line["body"]["messages"][-1]["content"] for line in asker.judge.lines(asker.judge.batches["batch_0"])]
    assert prompts == sorted(prompts)


async def test_failures_of_some_are_asked_again(asker: Asker) -> None:
    tries: dict[int, int] = {}

    def answer(line: Line) -> Any:
        tries[number(line)] = tries.get(number(line), 0) + 1
        return fault(500, "oops") if number(line) < 3 and tries[number(line)] == 1 else reply("[[7]]")

    asker.judge.answer = answer
    verdicts = await asker.ask(10)
    assert all(v.reply.value == 7.0 for v in verdicts)
    assert {k: n for k, n in tries.items() if n > 1} == {0: 2, 1: 2, 2: 2}


async def test_what_fails_for_good_ends_its_own_question_alone(asker: Asker) -> None:
    asker.judge.answer = lambda line: fault(400, "no reason") if number(line) < 12 else reply("[[7]]")
    verdicts = await asker.ask(20)
    assert [v.reply.status for v in verdicts] == ["refused"] * 12 + ["ok"] * 8
    assert len(asker.judge.batches) == 1
    assert await asker.ask(20) == verdicts


async def test_what_every_question_meets_burns_none(asker: Asker) -> None:
    asker.judge.answer = lambda _: fault(400, "unknown parameter: temperature")
    with pytest.raises(HarnessError, match="unknown parameter"):
        await asker.ask(20)
    assert asker.recorded() == 0
    asker.judge.answer = lambda _: reply("[[7]]")
    assert len(await asker.ask(20)) == 20


@pytest.mark.parametrize("status", ["expired", "cancelled"])
async def test_a_batch_that_expires_keeps_what_it_has_and_the_rest_is_asked_again(asker: Asker, status: str) -> None:
    asker.judge.ends = lambda n: status if n == 0 else "completed"
    asker.judge.answer = lambda line: None if len(asker.judge.batches) == 1 and number(line) % 2 else reply("[[7]]")
    verdicts = await asker.ask(10)
    assert [v.reply.value for v in verdicts] == [7.0] * 10
    assert sorted(asker.judge.submitted().values()) == [1] * 5 + [2] * 5


async def test_a_batch_that_expires_every_time_ends_the_run_and_burns_none(asker: Asker) -> None:
    asker.judge.ends = lambda _: "expired"
    asker.judge.answer = lambda line: None if number(line) == 3 else reply("[[7]]")
    with pytest.raises(Incomplete, match=r"in 3 tries: the batch ended \(expired\) without a reply"):
        await asker.ask(5)
    assert asker.recorded() == 4


async def test_where_the_queue_is_too_full_the_calls_go_in_halves(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.judge.full = 7
    assert len(await asker.ask(20)) == 20
    assert set(asker.judge.submitted().values()) == {1}
    assert len(asker.judge.batches) == 1 + 2 + 4
    monkeypatch.setattr(batch_api, "_MOST_FULL", 2)
    asker.judge.full = 0
    with pytest.raises(Incomplete, match="queue of batches is full"):
        await asker.ask(21)


async def test_a_queue_without_room_is_waited_for(asker: Asker) -> None:
    def emptied(path: str, _worked: bool) -> None:
        asker.judge.full = 0 if len(asker.judge.batches) < 8 else None

    asker.judge.hook = emptied
    assert len(await asker.ask(10)) == 10
    assert set(asker.judge.submitted().values()) == {1}
    assert any("waiting for a place" in told.get("batch", "") for told in asker.told)


async def test_files_are_as_long_as_the_endpoint_takes(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "_MOST_CALLS", 4)
    assert len(await asker.ask(10)) == 10
    assert [len(asker.judge.lines(batch)) for batch in asker.judge.batches.values()] == [4, 4, 2]
    monkeypatch.setattr(batch_lines, "_MOST_BYTES", 500)
    await asker.ask(14)
    assert all(len(asker.judge.lines(batch)) <= 2 for batch in list(asker.judge.batches.values())[3:])


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("what", ["POST /files", "POST /batches", "GET /batches/batch_0", "GET /files/file-1/content"])
async def test_an_answer_that_is_lost_submits_nothing_twice(asker: Asker, what: str, done: bool) -> None:
    """The endpoint fails before or after it has done what it was asked."""
    lost: list[str] = []

    def hook(path: str, worked: bool) -> Any:
        if path == what and worked == done and len(lost) < 2:
            lost.append(path)
            return fault(500, f"lost for {CANARY}")
        return None

    asker.judge.hook = hook
    assert len(await asker.ask(6)) == 6
    assert lost
    assert set(asker.judge.submitted().values()) == {1}


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (lambda: fault(401, f"bad key {CANARY}"), HarnessError, "HTTP 401"),
        (lambda: fault(404, "no files here"), HarnessError, "refuses the batch"),
        (lambda: fault(429, "pay", "insufficient_quota"), Incomplete, "no quota left"),
    ],
)
@pytest.mark.parametrize("what", ["POST /files", "POST /batches"])
async def test_an_endpoint_that_takes_no_batches(asker: Asker, what: str, bad: Any, error: Any, words: str) -> None:
    asker.judge.hook = lambda path, worked: bad() if path == what and not worked else None
    with pytest.raises(error, match=words) as caught:
        await asker.ask(6)
    assert CANARY not in str(caught.value)
    asker.judge.hook = lambda _path, _worked: None
    assert len(await asker.ask(6)) == 6
    assert set(asker.judge.submitted().values()) == {1}


async def test_a_batch_that_the_endpoint_does_not_know_is_not_submitted_again(asker: Asker) -> None:
    """It may be another project's key that asks."""
    Batches(asker.ledger).claim("n", [("judge", key, 0) for key in map(request_digest, tasks(2))])
    Batches(asker.ledger).submitted("n", "batch_of_another_project")
    with pytest.raises(HarnessError, match="HTTP 404") as caught:
        await asker.ask(2)
    assert "the key and its project" in caught.value.fix
    assert asker.judge.batches == {}


@pytest.mark.parametrize("at", ["POST /files", "POST /batches", "GET /batches/batch_0"])
async def test_one_that_is_cancelled_is_taken_up_in_the_same_process(asker: Asker, at: str) -> None:
    """As a notebook's cell that is stopped and run again."""
    asking = asyncio.create_task(asker.ask(6))

    def stop(path: str, done: bool) -> None:
        if path == at and done:
            asking.cancel()

    asker.judge.hook = stop
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(await asker.ask(6)) == 6
    assert set(asker.judge.submitted().values()) == {1}


async def test_a_stage_with_the_same_question_waits_for_the_batch_of_the_other(asker: Asker) -> None:
    asker.judge.looks = 5
    first, second = await asyncio.gather(asker.ask(6), asker.ask(9))
    assert first == second[:6]
    assert set(asker.judge.submitted().values()) == {1}
    assert len(asker.judge.submitted()) == 9


async def test_a_budget_is_kept_batch_by_batch(asker: Asker) -> None:
    with pytest.raises(Incomplete, match="budget is spent"):
        await asker.ask(50, max_cost_usd=0.012)
    recorded = asker.recorded()
    assert 0 < recorded < 50
    assert len(await asker.ask(50)) == 50
    assert set(asker.judge.submitted().values()) == {1}


def test_a_judge_that_is_served_here_takes_no_batches() -> None:
    with pytest.raises(ValueError, match="leave out 'batch' or 'serve'"):
        JudgeSettings.model_validate_json('{"model": "pypi:x", "serve": {}, "batch": true}')
