"""The subject of a server's complaint: this question, the settings of every request, the key, or the server's state.

A complaint is an HTTP status other than 200, or an error in the body of a reply under HTTP 200. Its status and its type
decide first, then its words. An unknown complaint is about the question where the status is 4xx, and about the server
where it is 5xx; the client (`client._Asking`) finds out whether other questions fare better.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Subject = Literal["question", "unknown", "settings", "key", "account", "busy", "server"]
"""question: too long, or filtered. unknown: a refusal for another reason. settings: a parameter, the model's name.
busy: the server is full or gone. server: the server failed; a second try may show that this was an accident."""
_PLACE = (
    r"(?:context|prompt|inputs?|sequence|messages?|payload|content|conversation|total tokens|token count|token limit)"
)
_TOO_MUCH = (
    r"(?:too (?:long|large|big|many)|exceed\w*|longer than|larger than|greater than|more than|beyond|must be <=)"
)
_TOO_LONG = re.compile(
    rf"\b{_PLACE}\b.{{0,120}}?{_TOO_MUCH}|{_TOO_MUCH}.{{0,120}}?\b{_PLACE}\b"
    r"|maximum (?:context|model|sequence|input|prompt) length|context[_ ](?:length|window|size)|reduce the length"
    r"|too many (?:input |prompt )?tokens|(?:request|prompt|input)[_ ](?:is )?too[_ ](?:large|long)"
    r"|got -\d|tokens_limit_reached|string_above_max_length|string too long"
)
_FILTERED = re.compile(
    r"content.?(?:filter|polic|management|moderation)|moderation|flagged|usage polic|safety|prohibited|blocklist"
    r"|harmful|inappropriate|sensitive|responsible.?ai|guardrail|invalid_prompt|data_inspection|risk control|recitation"
)
_KEY = re.compile(r"api[ _-]?key|authenticat|unauthorized|access token")
_ACCOUNT = re.compile(
    r"insufficient[ _](?:quota|balance|credits?|funds)|billing|credit balance|payment required|arrear|out of credits"
)
_MODEL = re.compile(
    r"model_not_found|model\b.{0,120}(?:not (?:found|exist|available)|does not exist)"
    r"|(?:not a valid|invalid|no such) model"
)
_SETTINGS = re.compile(
    r"unsupported|unrecognized|unknown (?:parameter|field|argument|name)|not supported|not permitted|does not support"
    r"|extra[ _](?:inputs|fields|forbidden)|max_(?:completion_|new_|output_)?tokens|temperature|logprobs|stream"
    r"|structured_outputs|chat template|add_generation_prompt|continue_final_message"
)
_OF_THE_QUESTION = ("messages", "prompt", "input", "content")
"""Parameters that differ from question to question."""
_BUSY = frozenset({408, 409, 425, 429, 502, 503, 504, 529})
_BUSY_TYPE = re.compile(r"rate.?limit|overload|unavailable|capacity|timeout|timed out|too many requests")
_FAILED_TYPE = re.compile(r"server.?error|internal|upstream|provider returned error")
_MOST_WORDS = 300


@dataclass(frozen=True)
class Complaint:
    """A server's error."""

    status: int
    """HTTP's; of an error under HTTP 200 the status that its body names or means."""
    words: str
    """The message, in short."""
    type: str = ""
    """Every name of its kind in the body: code, type, status."""
    parameter: str = ""
    """The parameter of the request that it names."""

    @property
    def subject(self) -> Subject:
        """The subject of the complaint."""
        status, text = self.status, f"{self.type} {self.words}".lower()
        if status == 402 or (status in (400, 403) and _ACCOUNT.search(text)) or "insufficient_quota" in text:
            return "account"
        if status == 401 or (status == 403 and (_KEY.search(text) or not _FILTERED.search(text))):
            return "key"
        if status == 429 and re.search(r"request too large|request_too_large", text):
            return "question"
        if status in _BUSY:
            return "busy"
        if status in (404, 405, 410):
            return "settings"
        if status == 413 or _TOO_LONG.search(text) or _FILTERED.search(text):
            return "question"
        if status >= 500:
            return "server"
        if status == 400 and _KEY.search(text):
            return "key"
        of_all = self.parameter and not self.parameter.startswith(_OF_THE_QUESTION)
        return "settings" if of_all or _MODEL.search(text) or _SETTINGS.search(text) else "unknown"


def complaint(status: int, body: object, text: str = "") -> Complaint:
    """The complaint in an error's body, whatever its shape; `text` stands for a body that is no JSON."""
    inner = _innermost(body)
    fields: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
    around: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    message = fields.get("message") or _details(fields.get("detail")) or text or inner
    words = " ".join(str(inner if isinstance(inner, str) else message).split())
    kinds = (fields.get("code"), fields.get("type"), fields.get("status"), around.get("error_type"))
    return Complaint(
        status,
        words if len(words) <= _MOST_WORDS else words[:_MOST_WORDS] + "...",
        " ".join(str(kind) for kind in kinds if kind is not None)[:_MOST_WORDS],
        str(fields.get("param") or ""),
    )


def _details(detail: object) -> object:
    """A validator's messages, without the request that they quote."""
    if not isinstance(detail, list) or not all(isinstance(fault, Mapping) for fault in detail):
        return detail
    return "; ".join(f"{fault.get('msg')} ({fault.get('loc')})" for fault in detail)


def _innermost(body: object) -> object:
    """The value under the deepest `error` of a body; of a list, its first entry's."""
    if isinstance(body, list) and body:
        return _innermost(body[0])
    inner = body.get("error") if isinstance(body, Mapping) else None
    return _innermost(inner) if isinstance(inner, Mapping | str | list) and inner else body


def complaint_under_200(body: Mapping[str, Any]) -> Complaint | None:
    """The complaint in a reply that came with HTTP 200; None where the reply is no complaint."""
    if not (body.get("error") or body.get("object") == "error"):
        return None
    said = complaint(400, body)
    for word in said.type.split():
        if word.isdigit() and 400 <= int(word) < 600:
            return replace(said, status=int(word))
    text = f"{said.type} {said.words}".lower()
    return replace(said, status=503 if _BUSY_TYPE.search(text) else 500 if _FAILED_TYPE.search(text) else 400)
