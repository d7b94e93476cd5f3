"""A stand-in for an endpoint's Batch API: files and batches in memory, and a count of what was submitted."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.judge.stand_in import fault, reply

Line = dict[str, Any]
Hook = Callable[[str, bool], "web.Response | Awaitable[None] | None"]
"""(method and path, whether it was worked on) -> what to say instead; it is called before and after each request."""


@dataclass
class BatchJudge:
    """The stand-in. It works on a batch when that has been looked at `looks` times."""

    url: str = ""
    looks: int = 2
    answer: Callable[[Line], web.Response | None] = lambda _line: reply("[[7]]")
    """The reply to one request; None where the batch ends without one."""
    ends: Callable[[int], str] = lambda _number: "completed"
    """The status in which the n-th batch ends (from 0)."""
    full: int | None = None
    """A batch of more calls finds the queue full."""
    hook: Hook = lambda _what, _done: None
    files: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    """Looks at each batch."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each HTTP request."""

    def submitted(self) -> Counter[str]:
        """How often each prompt was submitted in a batch that the endpoint began to work on."""
        lines = [line for batch in self.batches.values() if batch["status"] != "failed" for line in self.lines(batch)]
        return Counter(line["body"]["messages"][-1]["content"] for line in lines)

    def lines(self, batch: dict[str, Any]) -> list[Line]:
        """The requests of a batch."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def upload(self, content: str) -> str:
        """Keep a file."""
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def make(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a batch."""
        number = len(self.batches)
        batch = {
            "id": f"batch_{number}",
            "object": "batch",
            "created_at": 2_000_000_000 + number,
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            **asked,
        }
        self.batches[batch["id"]] = batch
        return batch

    def look(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch as it is now."""
        name, count = batch["id"], len(self.lines(batch))
        self.seen[name] += 1
        if self.full is not None and count > self.full:
            over = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [over]}}
        elif self.seen[name] <= self.looks:
            batch |= {"status": "in_progress"}
        elif batch["output_file_id"] is None and batch["error_file_id"] is None:
            self._work(batch)
        return batch | {"request_counts": {"total": count, "completed": 0, "failed": 0}}

    def _work(self, batch: dict[str, Any]) -> None:
        good: list[str] = []
        bad: list[str] = []
        for line in self.lines(batch):
            said = self.answer(line)
            row: Line = {"id": "x", "custom_id": line["custom_id"], "response": None, "error": None}
            if said is None:
                row["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
            else:
                row["response"] = {"status_code": said.status, "body": json.loads(said.text or "{}")}
            (good if said is not None and said.status == 200 else bad).append(json.dumps(row))
        batch |= {"status": self.ends(int(batch["id"].partition("_")[2]))}
        batch["output_file_id"] = self.upload("\n".join(reversed(good))) if good else None  # in any order
        batch["error_file_id"] = self.upload("\n".join(bad)) if bad else None


@asynccontextmanager
async def standing_in(judge: BatchJudge) -> AsyncIterator[BatchJudge]:
    """The stand-in on a free port of the loopback."""

    @web.middleware
    async def hooked(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        what = f"{request.method} {request.path.removeprefix('/v1')}"
        judge.requests.append(what)
        for done in (False, True):
            if done:
                response = await handler(request)
            instead = judge.hook(what, done)
            if isinstance(instead, web.Response):
                return instead
            if instead is not None:
                await instead
        return response

    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = judge.upload(form["file"].file.read().decode())  # type: ignore[union-attr]
        return web.json_response({"id": name, "object": "file", "purpose": "batch", "created_at": 1, "bytes": 1})

    async def content(request: web.Request) -> web.Response:
        return web.Response(text=judge.files[request.match_info["id"]])

    async def make(request: web.Request) -> web.Response:
        return web.json_response(judge.make(await request.json()))

    async def look(request: web.Request) -> web.Response:
        batch = judge.batches.get(request.match_info["id"])
        return web.json_response(judge.look(batch)) if batch else fault(404, "no such batch")

    async def names(request: web.Request) -> web.Response:
        newest = list(reversed(judge.batches.values()))
        after = request.query.get("after")
        first = 1 + next((k for k, batch in enumerate(newest) if batch["id"] == after), -1)
        page = newest[first : first + 2]  # short pages, so that there are several
        return web.json_response({"object": "list", "data": page, "has_more": first + 2 < len(newest)})

    app = web.Application(middlewares=[hooked], client_max_size=2**30)
    app.router.add_post("/v1/files", upload)
    app.router.add_get("/v1/files/{id}/content", content)
    app.router.add_post("/v1/batches", make)
    app.router.add_get("/v1/batches/{id}", look)
    app.router.add_get("/v1/batches", names)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    judge.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield judge
    await runner.cleanup()
