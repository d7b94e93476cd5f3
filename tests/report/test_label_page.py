"""The page on which people label a run's answers, asked as a browser asks it."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.record.labels import LabelLine, read_label_lines, with_values, write_label_lines
from harness.report.label_page import page, server

LINE = LabelLine("mt_bench", "81", 1, "an </script> answer", None, "a question", None, (), "points")


def lines(n: int = 3) -> list[LabelLine]:
    """Lines of n questions, none labelled."""
    return [replace(LINE, item=str(k)) for k in range(n)]


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The page's address while it is served."""
    with server(path) as held:
        thread = threading.Thread(target=held.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{held.server_port}/{held.token}/"
        finally:
            held.shutdown()
            thread.join(10)


def post(address: str, body: object) -> int:
    """The status of a reply to it."""
    request = urllib.request.Request(address + "label", json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_each_label_is_in_the_file_at_once(tmp_path: Path) -> None:
    """And the page that is opened again begins with what is left; a label can be taken back."""
    path = tmp_path / "labels.jsonl"
    write_label_lines(path, lines())
    with serving(path) as address:
        assert post(address, {"place": 1, "value": 7}) == 200
        assert [line.value for line in read_label_lines(path)] == [None, 7, None]
        assert post(address, {"place": 1, "value": None}) == 200
        assert post(address, {"place": 2, "value": 2.5}) == 200
    with serving(path) as address, urllib.request.urlopen(address, timeout=10) as reply:
        assert [line.value for line in read_label_lines(path)] == [None, None, 2.5]
        assert '"value":2.5' in reply.read().decode()


@pytest.mark.parametrize(
    "body",
    [
        {"place": 3, "value": 1},
        {"place": -1, "value": 1},
        {"place": 0, "value": "9"},
        {"place": 0, "value": 101},
        {"place": True, "value": 1},
        {"place": 0, "value": True},
        {"place": 0, "value": float("nan")},
        [],
        {},
    ],
)
def test_what_is_no_label_changes_nothing(body: object, tmp_path: Path) -> None:
    """It is refused, and the file stays as it was."""
    path = tmp_path / "labels.jsonl"
    write_label_lines(path, lines())
    with serving(path) as address:
        assert post(address, body) == 400
    assert read_label_lines(path) == lines()


def test_only_who_knows_the_address_can_label(tmp_path: Path) -> None:
    """Another page of the same browser does not."""
    path = tmp_path / "labels.jsonl"
    write_label_lines(path, lines())
    with serving(path) as address:
        other = address.rsplit("/", 2)[0] + "/guess/"
        assert post(other, {"place": 0, "value": 1}) == 404
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(other, timeout=10)
    assert read_label_lines(path) == lines()


def test_a_text_cannot_end_the_pages_script() -> None:
    """What looks like the end of a script is data."""
    assert page(lines()).count("</script>") == 1


def test_known_values_are_kept_and_other_lines_stand_at_the_end() -> None:
    """A larger draw goes on with the labels of the smaller one."""
    known = [replace(lines()[2], value=4.0), replace(LINE, item="elsewhere", value=5.0)]
    assert [(line.item, line.value) for line in with_values(lines(), known)] == [
        ("0", None),
        ("1", None),
        ("2", 4.0),
        ("elsewhere", 5.0),
    ]
