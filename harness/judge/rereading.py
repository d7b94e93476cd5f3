"""Replies that were recorded under an earlier version of a protocol: read anew instead of asked again.

A protocol's version is part of the judge's digest, so that a verdict is never one that today's code would read
otherwise. Where only the reading has changed (`Protocol.rereads`), the reply that was paid for is as good as ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.judge.api import JudgeTask
from harness.judge.identity import Key, request_digest
from harness.judge.prices import longest_reply
from harness.judge.protocol import Protocol
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Ledger, Reply


def reread(
    tasks: Sequence[JudgeTask],
    settings: JudgeSettings,
    protocol: Protocol,
    digests: Mapping[int, str],
    ledger: Ledger,
) -> int:
    """Record under today's version the replies to `tasks` that the ledger holds under earlier ones; their number.

    `digests` are the judge's by version of the protocol, today's among them. A reply keeps what it has cost.
    """
    today = digests[protocol.version]
    keys = {(request_digest(task), task.repeat) for task in tasks}
    missing = keys - ledger.recorded(today, keys).keys()
    replies: dict[Key, Reply] = {}
    for version in sorted(protocol.rereads):
        replies |= ledger.recorded(digests[version], missing)
    calls = [(today, *key) for key in replies]
    begun = ledger.write(begin=calls)
    reads = [_read(reply, settings, protocol) for reply in replies.values()]
    ledger.write(end=[ended for ended in zip(begun, calls, reads, strict=True) if ended[0]])
    return len(replies)


def _read(reply: Reply, settings: JudgeSettings, protocol: Protocol) -> Reply:
    if reply.status == "refused":
        return reply
    if protocol.most_tokens is None and reply.completion_tokens >= longest_reply(settings, protocol):
        return replace(reply, status="cut", value=None)  # the ledger holds how long a reply was, not why it ended
    try:
        return replace(reply, status="ok", value=protocol.verdict(reply.text))
    except ValueError:
        return replace(reply, status="unparseable", value=None)
