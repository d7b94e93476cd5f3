"""A stand-in for a judge's endpoint: it answers at once, in the form of whatever protocol asks, and knows nothing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from harness.core.canonical import Json
from harness.judge.forms.alpaca_ranking import FIRST

REPLY = f"{FIRST}  # Rating: [[5]], [[C]], [[A=B]]"
"""A verdict in the free text of every form: a ranking (whose rest is a comment to Python), a rating, ties."""
_TOKENS = ("m", "M", "1", "2", "A", "B", "C", ">", "=", *map(str, range(3, 11)), "0")
"""The likeliest next tokens, equally likely: those that verdicts are scored by."""


@contextmanager
def standing_in() -> Iterator[str]:
    """An OpenAI-compatible endpoint on loopback, gone on exit; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(asked: Json) -> Json:
    """The completion for a request's body."""
    choices = asked.get("structured_outputs", {}).get("choice")
    tokens = list(_TOKENS[: asked.get("top_logprobs", 0)])
    text = choices[0] if choices else tokens[0] if tokens else REPLY
    choice: dict[str, Json] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    if tokens:
        likeliest = [{"token": token, "logprob": -3.0, "bytes": list(token.encode())} for token in tokens]
        choice["logprobs"] = {"content": [{**likeliest[0], "top_logprobs": likeliest}]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    about = {"id": "rehearsal", "object": "chat.completion", "created": 0, "model": "stand-in"}
    return {**about, "choices": [choice], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing: who asks knows it."""

    def do_GET(self) -> None:
        """No list of models: nobody asks a stand-in by name."""
        self._send(404, {"error": {"message": "a stand-in lists no models"}})

    def do_POST(self) -> None:
        """A completion."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(200, answer(json.loads(body)))

    def _send(self, status: int, body: Json) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
