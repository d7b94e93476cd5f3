"""A stand-in for a judge's endpoint: it answers what a test tells it to, and remembers what it was asked."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from harness.judge.api import JudgeTask, Verdict
from harness.judge.client import ask
from harness.judge.identity import judge_digest
from harness.judge.protocol import find_protocol
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Ledger

CANARY = "sk-canary-8d1f0c77e2"


@dataclass(frozen=True)
class Cut:
    """The connection is reset: at once, or within a reply."""

    begun: bytes = b""


Answer = Callable[[dict[str, Any], int], "web.Response | Cut | Awaitable[web.Response]"]
"""(what was asked, how many questions came before) -> what to say."""


def reply(content: str | None, **choice: Any) -> web.Response:
    """A chat completion with one choice."""
    message = {"role": "assistant", "content": content, **choice.pop("message", {})}
    return completion([{"index": 0, "message": message, "finish_reason": "stop", **choice}])


def completion(choices: list[Any]) -> web.Response:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4-0613", "choices": choices}
    return web.json_response({**body, "usage": usage})


def fault(status: int, message: str = "no", code: str | None = None, **headers: str) -> web.Response:
    body = {"error": {"message": message, "type": "t", "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


async def reset(request: web.Request, cut: Cut) -> web.StreamResponse:
    """Send what there is of a reply, and hang up."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    if cut.begun:
        await response.prepare(request)
        await response.write(cut.begun)
    assert request.transport is not None
    request.transport.abort()
    return response


def models(*names: str, status: int = 200, **entry: str) -> web.Response:
    """A list of models, each with these fields beside its name."""
    return web.json_response({"object": "list", "data": [{"id": name, **entry} for name in names]}, status=status)


def tasks(count: int) -> list[JudgeTask]:
    return [JudgeTask(str(k), 1, "single-v1", ({"role": "user", "content": f"judge {k}"},)) for k in range(count)]


@dataclass
class Judge:
    """The stand-in, and one ledger to ask it with."""

    url: str
    ledger: Ledger
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: Answer = lambda _body, _n: reply("Rating: [[7]]")
    keys: set[str] = field(default_factory=set)
    listed: Callable[[str], web.Response] = lambda _path: fault(404)
    """What it says of its models: of the list (path ``) and of one."""
    progress: list[tuple[int, int]] = field(default_factory=list)
    site: web.TCPSite | None = None

    async def hang_up(self) -> None:
        """Stop listening; who asks now finds the connection refused."""
        assert self.site is not None
        await self.site.stop()

    def settings(self, **values: Any) -> JudgeSettings:
        given = {"model": "gpt-4", "base_url": self.url, "retries": 0, "api_key_env": "TEST_JUDGE_KEY", **values}
        return JudgeSettings.model_validate_json(json.dumps(given))

    async def ask(
        self, count: int = 1, given: list[JudgeTask] | None = None, form: str = "rating", **values: Any
    ) -> list[Verdict]:
        settings = self.settings(**values)
        protocol = find_protocol(form, settings.protocol)
        return await ask(
            given or tasks(count),
            settings,
            protocol,
            judge_digest=judge_digest(settings, protocol, prompts="p"),
            ledger=self.ledger,
            progress=lambda done, total, unit, **_: self.progress.append((done, total)),
        )

    def recorded(self) -> int:
        return sum(cost.calls for cost in self.ledger.costs())

    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.asked]


@asynccontextmanager
async def standing_in(ledger: Path, port: int = 0) -> AsyncIterator[Judge]:
    """A stand-in that listens on a port of the loopback, a free one by default."""
    stand_in = Judge("", Ledger(ledger))

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        stand_in.keys.add(request.headers.get("Authorization", ""))
        stand_in.asked.append(body)
        said = stand_in.answer(body, len(stand_in.asked) - 1)
        if isinstance(said, Cut):
            return await reset(request, said)
        return said if isinstance(said, web.Response) else await said

    app = web.Application()

    async def listed(request: web.Request) -> web.Response:
        stand_in.keys.add(request.headers.get("Authorization", ""))
        return stand_in.listed(request.match_info["name"])

    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/models{name:.*}", listed)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    stand_in.site = web.TCPSite(runner, "127.0.0.1", port)
    await stand_in.site.start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield stand_in
    await runner.cleanup()
    stand_in.ledger.close()
