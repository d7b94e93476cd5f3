"""The lines of a batch's files: calls as they are submitted, and what the endpoint answers to each."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from openai.types.chat import ChatCompletion

from harness.core.canonical import Json
from harness.judge.complaint import Complaint, complaint
from harness.store.ledger import CallKey

_MOST_CALLS, _MOST_BYTES = 50_000, 190_000_000
"""Of one file; the Batch API takes 200 MB."""
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"


class LineError(Exception):
    """The endpoint's complaint about one call of a batch."""

    def __init__(self, said: Complaint) -> None:
        super().__init__(said.words)
        self.said = said


class UnansweredError(Exception):
    """The batch ended before this call was answered."""


@dataclass(eq=False)
class Call:
    """A call that waits for its reply."""

    key: CallKey
    body: Mapping[str, Json]
    waits: int = 0
    """How often it found the endpoint's queue full."""
    reply: "asyncio.Future[ChatCompletion]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def id(self) -> str:
        """The call's name within its batch; the same after a restart."""
        _, request, repeat = self.key
        return f"{request[:48]}-{repeat}"

    def line(self) -> bytes:
        """Its line of the file that is submitted."""
        request = {"custom_id": self.id, "method": "POST", "url": ENDPOINT, "body": self.body}
        return json.dumps(request, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

    def end(self, reply: ChatCompletion) -> None:
        """Give its caller the reply, unless it has ended already."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Raise the error at its caller, unless it has ended already."""
        if not self.reply.done():
            self.reply.set_exception(error)


def parts(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """The calls in files that the endpoint takes."""
    part: list[Call] = []
    size = 0
    for call in calls:
        length = len(call.line())
        if part and (len(part) == _MOST_CALLS or size + length > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(call)
        size += length
    if part:
        yield part


def named_lines(text: str) -> Iterator[tuple[str, Json]]:
    """The lines of an output or error file by the call's name; what is no such line is left out."""
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "custom_id" in row:
            yield str(row["custom_id"]), row


def reply_in(row: Json, status: str) -> ChatCompletion | Exception:
    """A call's completion, or the error that stands in its place."""
    row = row or {}
    response, error = row.get("response") or {}, row.get("error") or {}
    code = response.get("status_code")
    if code == 200 and isinstance(response.get("body"), dict):
        return ChatCompletion.construct(**response["body"])
    if isinstance(code, int) and code >= 400:
        return LineError(complaint(code, response.get("body")))
    if not error or str(error.get("code", "")).startswith("batch_"):
        return UnansweredError(f"the batch ended ({status}) without a reply to it")
    return LineError(complaint(500, {"error": error}))
