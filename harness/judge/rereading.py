"""Replies that were recorded under an earlier version of a protocol: read anew instead of asked again.

A protocol's version is part of the judge's digest, so that a verdict is never one that today's code would read
otherwise. Where only the reading has changed (`Protocol.rereads`), the reply that was paid for is as good as ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.judge.api import JudgeTask
from harness.judge.identity import request_digest
from harness.judge.prices import longest_reply
from harness.judge.protocol import Protocol
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Call, Ledger


def reread(
    tasks: Sequence[JudgeTask],
    settings: JudgeSettings,
    protocol: Protocol,
    digests: Mapping[int, str],
    ledger: Ledger,
) -> int:
    """Record the replies to `tasks` that the ledger holds under earlier versions under today's too; how many they are.

    `digests` are the judge's by version of the protocol, today's among them. A reply keeps what it has cost.
    """
    today = digests[protocol.version]
    keys = {(request_digest(task), task.repeat) for task in tasks}
    missing = keys - ledger.recorded(today, keys).keys()
    found: dict[tuple[str, int], Call] = {}
    for version in sorted(protocol.rereads):
        found |= ledger.recorded(digests[version], missing)
    begun = ledger.write(begin=[(today, *key) for key in found])
    calls = [replace(_read(call, settings, protocol), judge=today) for call in found.values()]
    ledger.write(end=[(call, number) for call, number in zip(calls, begun, strict=True) if number])
    return len(found)


def _read(call: Call, settings: JudgeSettings, protocol: Protocol) -> Call:
    if call.status == "refused":
        return call
    if protocol.most_tokens is None and call.completion_tokens >= longest_reply(settings, protocol):
        return replace(call, status="cut", value=None)  # the ledger holds how long a reply was, not why it ended
    try:
        return replace(call, status="ok", value=protocol.verdict(call.text))
    except ValueError:
        return replace(call, status="unparseable", value=None)
