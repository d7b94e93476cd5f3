"""Datasets of the hub and folders of shards: which files a split has, what is pinned, and each refusal in a line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.absent import absent_allowed
from harness.core.errors import HarnessError
from harness.data.hub import Absent, data_files, is_here
from harness.data.readers import read_dataset
from harness.data.settings import DatasetSettings
from harness.models.refs import parse, pin
from harness.stages import dataset
from tests.worlds.hub import Hub, Repository, serving

CARD = b"""---
configs:
- config_name: short
  data_files: [{split: train, path: "short/*.jsonl"}]
- config_name: long
  default: true
  data_files: [{split: train, path: "long/train.jsonl"}, {split: test, path: "long/test.jsonl"}]
---
Answers.
"""


def rows(name: str, number: int = 2) -> bytes:
    made = ({"instruction": f"{name} {k}?", "output": f"{name} {k}."} for k in range(number))
    return "".join(json.dumps(row) + "\n" for row in made).encode()


FILES = {
    "README.md": CARD,
    "short/a.jsonl": rows("short a"),
    "short/b.jsonl": rows("short b"),
    "long/train.jsonl": rows("long train"),
    "long/test.jsonl": rows("long test"),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with serving() as server:
        server.repositories["datasets/org/answers"] = Repository([FILES])
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        yield server


def of(**settings: Any) -> DatasetSettings:
    return DatasetSettings.model_validate_json(json.dumps({"hf": "org/answers", **settings}))


def first_words(settings: DatasetSettings) -> list[str]:
    return [c.messages[0]["content"].rsplit(" ", 1)[0] for c in read_dataset(settings, 0).conversations[::2]]


def test_the_default_config_and_split(hub: Hub) -> None:
    assert first_words(of()) == ["long train"]
    assert first_words(of(split="test")) == ["long test"]
    assert first_words(of(config="short")) == ["short a", "short b"]
    assert first_words(of(data_files=["*/*t.jsonl"])) == ["long test"]


def test_only_the_splits_files_are_downloaded_and_once(hub: Hub) -> None:
    read_dataset(of(split="test"), 0)
    read_dataset(of(split="test"), 0)
    downloads = {path: n for path, n in hub.asked.items() if path.startswith("GET cdn")}
    assert {path.rpartition("/")[2]: n for path, n in downloads.items()} == {"README.md": 1, "test.jsonl": 1}


def test_content_is_identity_and_the_name_is_not(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["datasets/other/copy"] = Repository([FILES])
    (tmp_path / "here.jsonl").write_bytes(FILES["long/train.jsonl"])
    local = DatasetSettings(path=tmp_path / "here.jsonl")
    ids = {dataset.stage(one, 0, "train").id for one in (of(), of(hf="other/copy"), local)}
    assert len(ids) == 1


def test_a_new_commit_is_noticed_and_an_old_one_stays_readable(hub: Hub) -> None:
    before = dataset.stage(of(), 0, "train")
    repository = hub.repositories["datasets/org/answers"]
    repository.commits.append({**FILES, "long/train.jsonl": rows("long train, revised", 3)})
    assert dataset.stage(of(), 0, "train").id != before.id
    assert dataset.stage(of(revision=repository.sha(0)), 0, "train").id == before.id
    assert first_words(of()) == ["long train, revised"] * 2


def test_offline_what_is_cached_is_used_and_what_is_not_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dataset.stage(of(), 0, "train").id
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's own retries
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    )
    assert dataset.stage(of(), 0, "train").id == before
    with pytest.raises(HarnessError, match=r"`hf:org/answers` is not in the local cache and the hub cannot be reached"):
        read_dataset(of(split="test"), 0)
    with pytest.raises(HarnessError, match=r"`hf:org/unknown` is not in the local cache") as caught:
        read_dataset(of(hf="org/unknown"), 0)
    assert "hf download --repo-type dataset org/unknown" in caught.value.fix
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert dataset.stage(of(), 0, "train").id == before


def test_a_plan_that_is_only_looked_at_downloads_nothing(hub: Hub) -> None:
    with absent_allowed() as names:
        stage = dataset.stage(of(), 0, "train")
        assert not is_here(of())
    assert list(names) == ["hf:org/answers"]
    assert "hf:org/answers (not here)" in {one.title for one in stage.walk()}
    assert not hub.asked
    real = dataset.stage(of(), 0, "train")
    assert is_here(of())
    with absent_allowed() as names:
        assert dataset.stage(of(), 0, "train").id == real.id
        with pytest.raises(Absent):
            data_files(of(split="test"))
    assert not names


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        ({"config": "middle"}, "has no config 'middle'", "Choose `config:` from short, long."),
        ({"split": "dev"}, "has no split 'dev'", "Choose `split:` from train, test."),
        ({"data_files": ["x*"]}, "no file is called x\\*", "Files there: README.md, long/test.jsonl"),
        ({"revision": "v9"}, "has no such revision", "Check the revision."),
        ({"hf": "org/none"}, "the hub has no such repository", "for a private repository set HF_TOKEN"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(hub: Hub, settings: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(HarnessError, match=what) as caught:
        read_dataset(of(**settings), 0)
    assert fix in caught.value.fix
    assert "org/" in str(caught.value)


def test_a_repository_without_a_default_config_names_its_configs(hub: Hub) -> None:
    card = CARD.replace(b"  default: true\n", b"")
    hub.repositories["datasets/org/answers"] = Repository([{**FILES, "README.md": card}])
    with pytest.raises(HarnessError, match="has several configs") as caught:
        read_dataset(of(), 0)
    assert "short, long" in caught.value.fix


def test_a_dataset_that_only_a_script_makes(hub: Hub) -> None:
    hub.repositories["datasets/org/answers"] = Repository([{"README.md": b"", "answers.py": b"import os"}])
    with pytest.raises(HarnessError, match=r"made by a script of its own \(answers.py\)") as caught:
        read_dataset(of(), 0)
    assert "refs/convert/parquet" in caught.value.fix


@pytest.mark.parametrize("name", ["../outside.jsonl", "/outside.jsonl", "data/../../outside.jsonl"])
def test_a_repository_that_reaches_out_of_itself_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.repositories["datasets/org/answers"] = Repository([{name: rows("x")}])
    with pytest.raises(HarnessError, match="files outside of itself"):
        read_dataset(of(), 0)
    assert not list(tmp_path.rglob("outside.jsonl"))


def test_a_card_that_names_files_elsewhere_is_refused(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_bytes(rows("secret"))
    card = CARD.replace(b"long/train.jsonl", str(tmp_path / "secret.jsonl").encode())
    hub.repositories["datasets/org/answers"] = Repository([{**FILES, "README.md": card}])
    with pytest.raises(HarnessError, match="hf:org/answers"):
        read_dataset(of(), 0)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("gated", "is gated"),
        ("private", "no such repository"),
        ("busy", r"takes no more requests for now \(429\)"),
        ("broken", "cannot be reached|answered"),
    ],
)
@pytest.mark.parametrize("kind", ["datasets", "models"])
def test_refusals_are_one_line(
    hub: Hub, fault: str, what: str, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's own retries
    files = {**FILES, "config.json": b"{}", "model.safetensors": b"w" * 99}
    hub.repositories[f"{kind}/org/faulty"] = Repository([files], fault)
    ask: dict[str, Callable[[], object]] = {
        "models": lambda: pin(parse("hf:org/faulty")),
        "datasets": lambda: read_dataset(of(hf="org/faulty"), 0),
    }
    with pytest.raises(HarnessError, match=what) as caught:
        ask[kind]()
    assert len(str(caught.value).splitlines()) <= 2
    assert "hf:org/faulty" in str(caught.value)


def test_a_download_that_broke_is_made_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    repository = hub.repositories["datasets/org/answers"]
    repository.fault = "broken"
    with pytest.raises(HarnessError):
        read_dataset(of(), 0)
    repository.fault = ""
    assert first_words(of()) == ["long train"]


@pytest.mark.parametrize("kind", ["datasets", "models"])
def test_a_repository_that_moved_is_followed(hub: Hub, kind: str) -> None:
    hub.moved[f"{kind}/old/name"] = "new/name"
    hub.repositories[f"{kind}/new/name"] = Repository([{**FILES, "config.json": b"{}", "model.safetensors": b"w"}])
    if kind == "models":
        pinned = pin(parse("hf:old/name"))
        assert pinned.digest == hub.repositories["models/new/name"].sha(0)
    else:
        assert first_words(of(hf="old/name")) == ["long train"]


def test_shards_by_glob_and_by_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for k in range(12):
        table = pa.Table.from_pylist([{"instruction": f"{k} {i}?", "output": "."} for i in range(2)])
        pq.write_table(table, tmp_path / "data" / f"train-{k:05d}-of-00012.parquet")
    for path in (tmp_path / "data" / "train-*.parquet", tmp_path, tmp_path / "data"):
        settings = DatasetSettings(path=path)
        assert first_words(settings) == [str(k) for k in range(12)]
        inputs = dataset.stage(settings, 0, "train").inputs
        names = [inputs[name].title for name in sorted(inputs)]
        assert names == [f"train-{k:05d}-of-00012.parquet" for k in range(12)]
    with absent_allowed():
        assert not is_here(DatasetSettings(path=tmp_path / "x*.jsonl"))
    with pytest.raises(HarnessError, match="no file matches"):
        read_dataset(DatasetSettings(path=tmp_path / "x*.jsonl"), 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="holds no data files"):
        read_dataset(DatasetSettings(path=tmp_path / "empty"), 0)


def test_what_datasets_saved_and_csv(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    saved = Dataset.from_list([{"instruction": f"saved {k}?", "output": "a\nb"} for k in range(6)])
    saved.save_to_disk(tmp_path / "one", num_shards=3)
    DatasetDict(train=saved, test=saved.select([0])).save_to_disk(tmp_path / "several")
    saved.to_csv(tmp_path / "rows.csv")
    for path in ("one", "several", "rows.csv"):
        read = read_dataset(DatasetSettings(path=tmp_path / path), 0)
        assert [c.messages[1]["content"] for c in read.conversations] == ["a\nb"] * 6
    assert read_dataset(DatasetSettings(path=tmp_path / "several", split="test"), 0).counts["kept"] == 1
