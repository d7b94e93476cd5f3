"""Fetching the public data sets: from a server of our own, with right content, wrong content and no network."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.data import pull as pull_
from harness.data.pull import SETS, content_digest, pull
from tests.worlds import mt_bench

RECORDS: dict[str, list[dict[str, Any]]] = {
    "question.jsonl": [
        {"question_id": 1, "category": "writing", "turns": ["Añade.", "Again."]},
        {"question_id": 2, "category": "math", "turns": ["1+1?", "2+2?"]},
    ],
    "judge_prompts.jsonl": [{"name": "single-v1", "system_prompt": "Rate.", "prompt_template": "{question} {answer}"}],
    "reference_answer/gpt-4.jsonl": [{"question_id": 2, "choices": [{"index": 0, "turns": ["2", "4"]}]}],
}


def text(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


class Server:
    """Answers what lies in `pages` and counts the questions."""

    def __init__(self) -> None:
        self.pages = {f"/{name}": text(records) for name, records in RECORDS.items()}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                page = outer.pages.get(self.path)
                self.send_response(200 if page is not None else 404)
                self.end_headers()
                self.wfile.write((page or "").encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has the data set `mt_bench` in small, which the harness now takes for the real one."""
    served = Server()
    threading.Thread(target=served.http.serve_forever, daemon=True).start()
    parts = [
        replace(part, url=f"{served.url}/{part.name}", content=content_digest(part, lines(part.name)))
        for part in SETS["mt_bench"]
    ]
    monkeypatch.setitem(pull_.SETS, "mt_bench", tuple(parts))
    yield served
    served.http.shutdown()
    served.http.server_close()


def lines(name: str) -> list[str]:
    return text(RECORDS[name]).splitlines()


def test_right_content_is_written_as_it_came(server: Server, tmp_path: Path) -> None:
    found = pull("mt_bench", tmp_path)
    assert [path.relative_to(tmp_path / "mt_bench").as_posix() for path in found] == list(RECORDS)
    assert [path.read_text() for path in found] == [text(records) for records in RECORDS.values()]


def test_what_is_there_and_right_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    found = pull("mt_bench", tmp_path)
    found[1].write_text("{}\n")
    server.asked.clear()
    pull("mt_bench", tmp_path)
    assert server.asked == ["/judge_prompts.jsonl"]
    assert found[1].read_text() == text(RECORDS["judge_prompts.jsonl"])


def test_key_order_and_further_keys_do_not_matter_but_content_does(server: Server, tmp_path: Path) -> None:
    other = [{"more": 1, **dict(reversed(r.items()))} for r in reversed(RECORDS["question.jsonl"])]
    server.pages["/question.jsonl"] = text(other)
    assert pull("mt_bench", tmp_path)[0].read_text() == text(other)


@pytest.mark.parametrize("page", ["", "<html>", "{}\n", "[]\n", text(RECORDS["question.jsonl"][:1])])
def test_wrong_content_is_refused_and_nothing_is_written(server: Server, tmp_path: Path, page: str) -> None:
    server.pages["/question.jsonl"] = page
    with pytest.raises(HarnessError, match="content differs") as caught:
        pull("mt_bench", tmp_path)
    assert caught.value.where == f"{server.url}/question.jsonl"
    assert "Nothing was written" in caught.value.fix
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("there", ["not json\n", "[1]\n", "\xff", "[" * 100_000])
def test_a_broken_file_that_is_there_is_fetched_again(server: Server, tmp_path: Path, there: str) -> None:
    target = tmp_path / "mt_bench/question.jsonl"
    target.parent.mkdir()
    target.write_bytes(there.encode("latin-1"))
    pull("mt_bench", tmp_path)
    assert target.read_text() == text(RECORDS["question.jsonl"])


def test_a_page_that_is_gone(server: Server, tmp_path: Path) -> None:
    del server.pages["/question.jsonl"]
    with pytest.raises(HarnessError, match="404") as caught:
        pull("mt_bench", tmp_path)
    assert caught.value.where.endswith("/question.jsonl")


def test_no_network(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(HarnessError, match="cannot fetch it") as caught:
        pull("mt_bench", tmp_path)
    assert "Without a network" in caught.value.fix
    assert list(tmp_path.rglob("*")) == []


def test_an_unknown_set_names_the_known() -> None:
    with pytest.raises(HarnessError) as caught:
        pull("mt-bench", Path())
    assert "mt_bench" in caught.value.fix


@pytest.mark.skipif(not mt_bench.PUBLISHED.is_dir(), reason="the MT-Bench files are not here (../shared/data/mt_bench)")
@pytest.mark.parametrize("part", SETS["mt_bench"], ids=lambda part: part.name)
def test_the_digests_are_those_of_the_real_files(part: pull_.Part) -> None:
    text = (mt_bench.PUBLISHED / part.name).read_text(encoding="utf-8")
    assert content_digest(part, text.split("\n")) == part.content


@pytest.mark.parametrize("part", SETS["mt_bench"], ids=lambda part: part.name)
def test_a_digest_is_that_of_the_sorted_records_as_plain_json(part: pull_.Part, tmp_path: Path) -> None:
    """Written down here once more, for made-up files in the published form."""
    mt_bench.made_up(tmp_path, per_category=1)
    text = (tmp_path / part.name).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    matters = {
        "question.jsonl": [[r["question_id"], r["category"], r["turns"]] for r in rows if "turns" in r],
        "judge_prompts.jsonl": [[r["name"], r["system_prompt"], r["prompt_template"]] for r in rows if "name" in r],
        "reference_answer/gpt-4.jsonl": [[r["question_id"], r["choices"][0]["turns"]] for r in rows if "choices" in r],
    }[part.name]
    plain = json.dumps(sorted(matters, key=str), ensure_ascii=False, separators=(",", ":"))
    assert len(matters) == {"question.jsonl": 8, "judge_prompts.jsonl": 8, "reference_answer/gpt-4.jsonl": 3}[part.name]
    assert content_digest(part, text.split("\n")) == hashlib.sha256(plain.encode()).hexdigest()
