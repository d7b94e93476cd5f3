"""One judge call: ask, retry what may pass, tell final failures from faults."""

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import openai
import tenacity
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, Field, ValidationError

from harness.core.canonical import Json
from harness.core.errors import HarnessError, Incomplete
from harness.judge.api import Status
from harness.judge.identity import endpoint
from harness.judge.prices import longest_reply
from harness.judge.profiles import profile_of
from harness.judge.protocol import Protocol
from harness.judge.settings import JudgeSettings

BACKOFF_S = 1.0
"""First pause between tries; it doubles each time, up to the longest, and half of it is random."""
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
"""A server that wants us to wait longer gets no second try: the run ends and says so."""
_RETRIED = frozenset({408, 409, 425, 429})
_TOO_LONG = ("context_length_exceeded", "maximum context length", "maximum model length", "longer than the maximum")
_FILTERED = ("content_filter", "content_policy_violation")


@dataclass(frozen=True)
class Reply:
    """What came back, read by the protocol."""

    status: Status
    value: float | None
    text: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Alternative(BaseModel):
    token: str
    logprob: float


class _Token(BaseModel):
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Choice(BaseModel):
    finish_reason: str | None = None
    message: _Message | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = Field(None, ge=0)
    completion_tokens: int | None = Field(None, ge=0)


class _Completion(BaseModel):
    """What we read of a chat completion: the client takes a reply of any shape for one."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


class _AgainError(Exception):
    """A fault that may pass."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class Caller:
    """Asks one judge. The key is in the client only; it is taken out of any text that echoes it."""

    def __init__(
        self, client: openai.AsyncOpenAI, settings: JudgeSettings, protocol: Protocol, halted: asyncio.Event
    ) -> None:
        self.client, self.settings, self.protocol, self.halted = client, settings, protocol, halted
        self.profile = profile_of(settings)
        self.where = str(client.base_url).rstrip("/") if settings.serve else endpoint(settings)

    def body(self, messages: list[Mapping[str, Json]]) -> dict[str, Json]:
        """All that is sent."""
        begun = [{"role": "assistant", "content": self.protocol.prefix}] if self.protocol.prefix else []
        plain = {
            "model": "judge" if self.settings.serve else self.settings.model,
            "messages": [*messages, *begun],
            "temperature": self.settings.temperature,
            "max_tokens": longest_reply(self.settings, self.protocol),
            **self.protocol.body,
        }
        return self.profile.fit(plain)

    async def ask(self, body: dict[str, Json]) -> Reply:
        """The reply, after as many tries as the settings allow.

        Raises:
            Incomplete: what may pass did not pass; ask again later.
            HarnessError: the server refuses us (key, model name, parameters).
        """
        tries = tenacity.AsyncRetrying(
            stop=self._enough,
            wait=_pause,
            retry=tenacity.retry_if_exception(_worth_waiting),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            reply: Reply = await tries(self._once, body)
        except _AgainError as error:
            count = tries.statistics["attempt_number"]
            raise Incomplete(
                f"the judge gave no verdict in {count} {'try' if count == 1 else 'tries'}: {self._clean(error.reason)}",
                where=self.where,
                fix="What was answered is kept. Run again when the judge is back.",
            ) from None
        return reply

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number > self.settings.retries or self.halted.is_set()

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than until the whole batch stops."""
        try:
            async with asyncio.timeout(seconds):
                await self.halted.wait()
        except TimeoutError:
            pass

    async def _once(self, body: dict[str, Json]) -> Reply:
        if self.halted.is_set():
            raise _AgainError("another call failed")
        clock = time.monotonic()
        try:
            async with asyncio.timeout(self.settings.timeout_s):  # the client's own limit counts between bytes
                completion = await self._post(body)
                more = [await self._post(_continued(body, text)) for text in self.protocol.continuations]
        except (TimeoutError, openai.APITimeoutError):
            raise _AgainError(f"no answer within {self.settings.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise _AgainError(f"unreachable ({error.__cause__ or error})") from None
        except openai.APIStatusError as error:
            return self._refused(error)
        except (json.JSONDecodeError, openai.APIResponseValidationError, UnicodeDecodeError):
            raise _AgainError("the reply is broken (no valid JSON)") from None
        reply = self._read(completion, time.monotonic() - clock)
        return self._scored(reply, [completion, *more])

    def _scored(self, reply: Reply, completions: list[object]) -> Reply:
        """The reply that stands for the probabilities in all of them: what they mean, and what all of them cost."""
        if self.protocol.scored is None:
            return reply
        more = [self._read(completion, 0.0) for completion in completions[1:]]
        counts = (
            reply.prompt_tokens + sum(r.prompt_tokens for r in more),
            reply.completion_tokens + sum(r.completion_tokens for r in more),
        )
        for read in (reply, *more):
            if read.status == "refused":
                return read
        try:
            text = self.protocol.scored(
                [_likeliest(completion, bool(self.protocol.prefix)) for completion in completions]
            )
            return Reply("ok", self.protocol.read(text), text, reply.model, *counts, reply.latency_s)
        except ValueError as error:
            return Reply("unparseable", None, f"{reply.text} ({error})", reply.model, *counts, reply.latency_s)

    async def _post(self, body: dict[str, Json]) -> object:
        """One request; not by `chat.completions.create`, which walks through every message to no effect."""
        return await self.client.post("/chat/completions", cast_to=ChatCompletion, body=body)

    def _refused(self, error: openai.APIStatusError) -> Reply:
        """What a status other than 200 means: try again, a refusal of this one question, or a fault."""
        said = self._clean(_said(error))
        text = f"{error.code} {said}".lower() if isinstance(error.code, str) else said.lower()
        if error.status_code in (401, 403):
            raise HarnessError(
                f"the judge refuses the key (HTTP {error.status_code})",
                where=self.where,
                fix=f"Put a valid key in the environment variable {self.settings.api_key_env}.",
            )
        if error.status_code == 429 and "insufficient_quota" in text:
            raise Incomplete(
                f"the judge's account has no quota left: {said}",
                where=self.where,
                fix="What was answered is kept. Run again when there is quota.",
            )
        if error.status_code in _RETRIED or error.status_code >= 500:
            raise _AgainError(f"HTTP {error.status_code}: {said}", _retry_after(error.response.headers))
        if error.status_code in (400, 413, 422) and any(mark in text for mark in (*_TOO_LONG, *_FILTERED)):
            return Reply("refused", None, f"HTTP {error.status_code}: {said}")
        fix = "Check judge.model and judge.base_url." if error.status_code == 404 else "Check the judge's settings."
        raise HarnessError(
            f"the judge does not accept the request (HTTP {error.status_code}: {said})", where=self.where, fix=fix
        )

    def _read(self, completion: object, latency: float) -> Reply:
        shaped = _shaped(completion)
        choice, usage = shaped.choices[0] if shaped.choices else _Choice(), shaped.usage or _Usage()
        if choice.message is None:
            raise _AgainError("the reply is empty (no choices)")
        facts = (_writable(shaped.model or ""), usage.prompt_tokens or 0, usage.completion_tokens or 0, latency)
        content = choice.message.content
        if choice.message.refusal or choice.finish_reason == "content_filter":
            reason = choice.message.refusal or content or "stopped by a content filter"
            return Reply("refused", None, self._clean(reason), *facts)
        if content is None and choice.finish_reason == "length":  # a reasoning model that was cut before it spoke
            return Reply("unparseable", None, "(no text within judge.max_tokens)", *facts)
        if content is None:
            raise _AgainError("the reply is empty (no text)")
        text = self._clean(self.protocol.prefix + content)
        try:
            return Reply("ok", self.protocol.read(text), text, *facts)
        except ValueError:
            return Reply("unparseable", None, text, *facts)

    def _clean(self, text: str) -> str:
        key = self.client.api_key
        return _writable(text.replace(key, "[key]") if len(key) >= 8 else text)


def _shaped(completion: object) -> _Completion:
    if not isinstance(completion, ChatCompletion):
        raise _AgainError("the reply is broken (no chat completion)")
    try:
        return _Completion.model_validate(completion, from_attributes=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise _AgainError(f"the reply is broken ({'.'.join(map(str, first['loc']))}: {first['msg']})") from None


def _writable(text: str) -> str:
    """Half of a surrogate pair, which JSON can write and no file can hold, as `?`."""
    return text.encode("utf-8", "replace").decode()


def _continued(body: dict[str, Json], text: str) -> dict[str, Json]:
    """The same request with more of the judge's turn begun for it."""
    *messages, begun = body["messages"]
    return {**body, "messages": [*messages, {**begun, "content": begun["content"] + text}]}


def _likeliest(completion: object, begun: bool) -> dict[str, float]:
    """The first token's likeliest alternatives -> log-probability (nats); {} where none came.

    Without the spaces around them where the reply was begun for the judge: what follows is then often written with one.
    """
    choices = _shaped(completion).choices
    assert choices, "read before"
    logprobs = choices[0].logprobs
    tokens = logprobs.content[0].top_logprobs if logprobs and logprobs.content else None
    return {token.token.strip() if begun else token.token: token.logprob for token in reversed(tokens or [])}


def _said(error: openai.APIStatusError) -> str:
    """The server's own words, in short."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    text = " ".join(str(message or error.response.text).split())
    return text if len(text) <= 300 else text[:300] + "..."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server wants us to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if value.replace(".", "", 1).isdigit():
            return float(value)
        until = email.utils.parsedate_to_datetime(value)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _worth_waiting(error: BaseException) -> bool:
    return isinstance(error, _AgainError) and (error.retry_after or 0.0) <= LONGEST_RETRY_AFTER_S


def _pause(state: tenacity.RetryCallState) -> float:
    """What the server asks for, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _AgainError) and error.retry_after is not None:
        return error.retry_after
    longest = min(LONGEST_PAUSE_S, BACKOFF_S * 2.0 ** (state.attempt_number - 1))
    return longest * (0.5 + 0.5 * random.random())
