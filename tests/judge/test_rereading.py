"""Replies recorded under an earlier version of a protocol are read anew, and nobody is asked."""

from dataclasses import replace

import pytest

from harness.judge.identity import judge_digest, request_digest
from harness.judge.protocol import Protocol, find_protocol
from harness.judge.rereading import reread
from harness.store.ledger import Reply, Status
from tests.judge.stand_in import Judge, tasks

RATING = find_protocol("rating", "text")
OLD: dict[str, tuple[Status, float | None, int]] = {
    "xs[2] is right. Rating: 8/10": ("ok", 2.0, 20),
    "<think>[[3]]?</think> [[8]]": ("unparseable", None, 20),
    "One may say [[3]], but": ("ok", 3.0, 2048),
    "[[7]]": ("ok", 7.0, 20),
    "[[0]]": ("unparseable", None, 20),
    "HTTP 400: [[5]] is too long": ("refused", None, 0),
}
NOW = [("unparseable", None), ("ok", 8.0), ("cut", None), ("ok", 7.0), ("ok", 0.0), ("refused", None)]
"""What each of them is today."""


def digests(judge: Judge, protocol: Protocol) -> dict[int, str]:
    versions = (protocol.version, *protocol.rereads)
    return {v: judge_digest(judge.settings(), replace(protocol, version=v), prompts="p") for v in versions}


def record_old(judge: Judge, digest: str) -> None:
    for task, (text, (status, value, tokens)) in zip(tasks(len(OLD)), OLD.items(), strict=True):
        key = (digest, request_digest(task), 0)
        reply = Reply(status, value, text, "gpt-4-0613", 100, tokens, 0.5, 1.0, "{}")
        judge.ledger.end(judge.ledger.begin(key), key, reply)


async def test_recorded_replies_are_read_anew(judge: Judge) -> None:
    known = digests(judge, RATING)
    record_old(judge, known[1])
    asked = tasks(len(OLD) + 1)
    assert reread(asked, judge.settings(), RATING, known, judge.ledger) == len(OLD)
    assert reread(asked, judge.settings(), RATING, known, judge.ledger) == 0, "once"
    found = await judge.ask(given=asked)
    assert [(v.reply.status, v.reply.value) for v in found] == [*NOW, ("ok", 7.0)]
    assert [v.reply.text for v in found[:-1]] == list(OLD)
    assert judge.prompts() == [f"judge {len(OLD)}"], "only the question without a reply is asked"
    assert judge.ledger.interrupted() == []


async def test_what_today_has_recorded_stays(judge: Judge) -> None:
    first = await judge.ask(1)
    known = digests(judge, RATING)
    record_old(judge, known[1])
    assert reread(tasks(1), judge.settings(), RATING, known, judge.ledger) == 0
    assert await judge.ask(1) == first


@pytest.mark.parametrize("way", ["choice", "expected"])
def test_a_protocol_that_reads_as_ever_has_nothing_to_read_anew(judge: Judge, way: str) -> None:
    assert find_protocol("rating", way).rereads == ()
