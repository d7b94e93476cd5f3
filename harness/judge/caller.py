"""One judge call: ask, retry what may pass, tell final failures from faults."""

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import openai
import tenacity
from openai.types.chat import ChatCompletion

from harness.core.canonical import Json
from harness.core.errors import HarnessError, Incomplete
from harness.judge.batch_lines import LineError, UnansweredError
from harness.judge.complaint import Complaint, Subject, complaint, complaint_under_200
from harness.judge.completion import BrokenReplyError, error_body, read_completion
from harness.judge.identity import endpoint
from harness.judge.prices import longest_reply, price_of
from harness.judge.profiles import profile_of
from harness.judge.protocol import Protocol, TopLogprobs
from harness.judge.settings import JudgeSettings
from harness.store.ledger import CallKey, Reply

BACKOFF_S = 1.0
"""First pause between tries; it doubles each time, up to the longest, and half of it is random."""
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
"""A server that wants us to wait longer gets no second try: the run ends and says so."""
_NOWHERE = (404, 405, 410)
"""HTTP statuses of an address without a judge, or of a judge without that model."""


@dataclass(frozen=True)
class Doubt:
    """A failure of one question that every other question may share."""

    fault: HarnessError
    """The error that ends the run if the other questions fail too."""
    subject: Subject
    """The subject of the server's complaint."""


class _AgainError(Exception):
    """A fault that may pass. `gone`: while it lasts, no question can be answered."""

    def __init__(
        self, reason: str, retry_after: float | None = None, *, gone: bool = False, subject: Subject = "server"
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.subject = reason, retry_after, subject
        self.gone = gone or not _worth_waiting(self)


Post = Callable[[CallKey, Mapping[str, Json]], Awaitable[object]]
"""Sends one request and returns the completion."""


class Caller:
    """Asks one judge. Only the client holds the key; a text that echoes the key is stored without it.

    `post` sends the requests, by default one by one and live.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        settings: JudgeSettings,
        protocol: Protocol,
        halted: asyncio.Event,
        post: Post | None = None,
    ) -> None:
        self._post = post or self._live
        self.client, self.settings, self.protocol, self.halted = client, settings, protocol, halted
        self.profile, self.price = profile_of(settings), price_of(settings)
        self.where = str(client.base_url).rstrip("/") if settings.serve else endpoint(settings)

    def body(self, messages: list[Mapping[str, Json]]) -> dict[str, Json]:
        """The whole request."""
        begun = [{"role": "assistant", "content": self.protocol.prefix}] if self.protocol.prefix else []
        plain = {
            "model": "judge" if self.settings.serve else self.settings.model,
            "messages": [*messages, *begun],
            "temperature": self.settings.temperature,
            "max_tokens": longest_reply(self.settings, self.protocol),
            **self.protocol.body,
        }
        return self.profile.fit(plain)

    async def ask(self, key: CallKey, body: dict[str, Json]) -> tuple[Reply, Doubt | None]:
        """The reply, or this question's failure, after as many tries as the settings allow.

        Returns:
            The row for the ledger, and a doubt where the failure may be every question's.

        Raises:
            Incomplete: the server is gone, busy, or wants money; ask again later.
            HarnessError: the server refuses the key, or has no such model.
        """
        tries = tenacity.AsyncRetrying(
            stop=self._enough,
            wait=tenacity.wait_none() if self.settings.batch else _pause,  # a batch takes its time anyway
            retry=tenacity.retry_if_exception(_worth_waiting),
            sleep=self._sleep,
            reraise=True,
        )
        reply: Reply
        doubt: Doubt | None
        try:
            reply, doubt = await tries(self._once, key, body)
        except _AgainError as error:
            count, reason = tries.statistics["attempt_number"], self._clean(error.reason)
            incomplete = Incomplete(
                f"the judge gave no verdict in {count} {'try' if count == 1 else 'tries'}: {reason}",
                where=self.where,
                fix="What was answered is kept. Run again when the judge is back.",
            )
            if error.gone or self.halted.is_set():
                raise incomplete from None
            reply, doubt = Reply("failed", text=reason), Doubt(incomplete, error.subject)
        return replace(reply, request_json=json.dumps(body, ensure_ascii=False)), doubt

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number > self.settings.retries or self.halted.is_set()

    async def _sleep(self, seconds: float) -> None:
        """Wait; end early where the whole batch stops."""
        try:
            async with asyncio.timeout(seconds):
                await self.halted.wait()
        except TimeoutError:
            pass

    async def _once(self, key: CallKey, body: dict[str, Json]) -> tuple[Reply, Doubt | None]:
        if self.halted.is_set():
            raise _AgainError("another call failed", gone=True)
        clock = time.monotonic()
        try:
            # The client's own limit counts between bytes.
            async with asyncio.timeout(None if self.settings.batch else self.settings.timeout_s):
                completion = await self._post(key, body)
                more = [await self._post(key, _continued(body, text)) for text in self.protocol.continuations]
        except (TimeoutError, openai.APITimeoutError):
            raise _AgainError(f"no answer within {self.settings.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise _AgainError(f"unreachable ({error.__cause__ or error})", gone=True) from None
        except openai.APIStatusError as error:
            said = complaint(error.status_code, error.body, error.response.text)
            return self._refused(said, _retry_after(error.response.headers))
        except LineError as error:
            return self._refused(error.said, None)
        except UnansweredError as error:
            raise _AgainError(str(error), gone=True) from None
        except (json.JSONDecodeError, openai.APIResponseValidationError, UnicodeDecodeError):
            raise _AgainError("the reply is broken (no valid JSON)") from None
        return self._answered([completion, *more], time.monotonic() - clock)

    def _answered(self, completions: list[object], latency_s: float) -> tuple[Reply, Doubt | None]:
        """The verdict in a reply, or in the several that a scored protocol asks for and pays for."""
        for completion in completions:
            if said := complaint_under_200(error_body(completion)):
                return self._refused(said, None)
        may_be_cut = longest_reply(self.settings, self.protocol) == self.protocol.most_tokens
        try:
            read = [read_completion(completion, may_be_cut=may_be_cut) for completion in completions]
        except BrokenReplyError as error:
            raise _AgainError(str(error), subject="unknown") from None
        replies, likeliest = [reply for reply, _ in read], [alternatives for _, alternatives in read]
        first = next((reply for reply in replies if reply.status != "ok"), replies[0])
        counts = sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies)
        reply = Reply(
            first.status,
            None,
            self._clean(first.text),
            _writable(first.model),
            *counts,
            price_usd=self.price.cost(*counts) if self.price and (any(counts) or first.status == "refused") else None,
            latency_s=round(latency_s, 3),
        )
        return self._read(reply, likeliest) if reply.status == "ok" else reply, None

    def _read(self, reply: Reply, likeliest: list[TopLogprobs]) -> Reply:
        """A reply that has a text, with the value that the protocol reads in it or in the likeliest tokens."""
        protocol, whole = self.protocol, self.protocol.prefix + reply.text
        try:
            if protocol.scored is None:
                return replace(reply, value=protocol.verdict(reply.text), text=whole)
            if protocol.prefix:  # judges often write a space between the prefix and the next token
                likeliest = [{token.strip(): p for token, p in tokens.items()} for tokens in likeliest]
            value, text = protocol.scored(likeliest)
            return replace(reply, value=value, text=text)
        except ValueError as error:
            return replace(reply, status="unparseable", text=whole if protocol.scored is None else f"{whole} ({error})")

    async def _live(self, _: CallKey, body: Mapping[str, Json]) -> object:
        """One request; not by `chat.completions.create`, which walks through every message to no effect."""
        return await self.client.post("/chat/completions", cast_to=ChatCompletion, body=body)

    def _refused(self, said: Complaint, retry_after: float | None) -> tuple[Reply, Doubt]:
        """The consequence of a complaint: another try, a failure of this question, or a fault that ends the run."""
        subject, words = said.subject, f"HTTP {said.status}: {self._clean(said.words)}"
        if subject == "key":
            raise HarnessError(
                f"the judge refuses the key (HTTP {said.status})",
                where=self.where,
                fix=f"Put a valid key in the environment variable {self.settings.api_key_env}.",
            )
        if subject == "account":
            raise Incomplete(
                f"the judge's account has no quota left: {words}",
                where=self.where,
                fix="What was answered is kept. Run again when there is quota.",
            )
        if subject in ("busy", "server"):
            raise _AgainError(words, retry_after, gone=subject == "busy")
        fix = "Check judge.model and judge.base_url." if said.status == 404 else "Check the judge's settings."
        fault = HarnessError(f"the judge does not accept the request ({words})", where=self.where, fix=fix)
        if said.status in _NOWHERE:
            raise fault
        price = self.price.cost(0, 0) if self.price else None
        return Reply("refused", text=words, price_usd=price), Doubt(fault, subject)

    def _clean(self, text: str) -> str:
        key = self.client.api_key
        return _writable(text.replace(key, "[key]") if len(key) >= 8 else text)


def _writable(text: str) -> str:
    """The text with `?` for half of a surrogate pair, which JSON can write and no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _continued(body: dict[str, Json], text: str) -> dict[str, Json]:
    """The same request with more of the judge's turn begun for it."""
    *messages, begun = body["messages"]
    return {**body, "messages": [*messages, {**begun, "content": begun["content"] + text}]}


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
    """The pause (s) that the server asks for; else one that grows exponentially, with jitter."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _AgainError) and error.retry_after is not None:
        return error.retry_after
    longest = min(LONGEST_PAUSE_S, BACKOFF_S * 2.0 ** (state.attempt_number - 1))
    return longest * (0.5 + 0.5 * random.random())
