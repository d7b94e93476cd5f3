"""A small page on this machine on which people label answers, a key for each; every label is in the file at once."""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from harness.record.labels import LabelLine, read_label_lines, write_label_lines
from harness.report.browser import safe_json

_PAGE = Path(__file__).parent / "templates" / "label.html"
_MOST_BYTES = 1000


def serve(path: Path, started: Callable[[str], None], port: int = 0) -> None:
    """Serve the page for a file of labels on the loopback until interrupted.

    `started` is told the address, which nobody can guess: other pages that a browser shows cannot label.
    """
    with server(path, port) as serving:
        started(f"http://127.0.0.1:{serving.server_port}/{serving.token}/")
        serving.serve_forever()


class LabelServer(HTTPServer):
    """Serves one file; a request at a time, so that no two labels are written at once."""

    def __init__(self, path: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.path, self.lines = path, read_label_lines(path)
        self.token = secrets.token_urlsafe(16)

    def label(self, place: int, value: float | None) -> None:
        """Set a line's value, None for none, and write the file."""
        self.lines[place] = replace(self.lines[place], value=value)
        write_label_lines(self.path, self.lines)


def server(path: Path, port: int = 0) -> LabelServer:
    """A server that listens, for `serve_forever` or `handle_request`."""
    return LabelServer(path, port)


def page(lines: list[LabelLine]) -> str:
    """The page: all lines are in it as data, and texts are only ever set as text."""
    return _PAGE.read_text(encoding="utf-8").replace("/*LINES*/[]", safe_json([asdict(line) for line in lines]))


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer

    def do_GET(self) -> None:
        if self.path != f"/{self.server.token}/":
            self.send_error(404)
            return
        self._reply(page(self.server.lines).encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        if self.path != f"/{self.server.token}/label":
            self.send_error(404)
            return
        try:
            told = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), _MOST_BYTES)))
            place, value = told["place"], told["value"]
            sound = type(place) is int and 0 <= place < len(self.server.lines)
            sound = sound and (value is None or (type(value) in (int, float) and 0 <= value <= 100))
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            self.send_error(400)
            return
        self.server.label(place, value)
        self._reply(b"{}", "application/json")

    def _reply(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; "
                         "style-src 'unsafe-inline'; connect-src 'self'")  # fmt: skip
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: each key would be a line."""
