import gzip
import json
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.errors import HarnessError
from harness.data.conversations import Conversation, read_conversations, write_conversations
from harness.data.readers import Dataset, read_dataset
from harness.data.settings import DatasetSettings
from tests.worlds.alpaca_eval import World

PAIR = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def _read(file: Path, data_seed: int = 0, **settings: Any) -> Dataset:
    text = json.dumps({"path": str(file), **settings}, default=str)
    return read_dataset(DatasetSettings.model_validate_json(text), data_seed)


def _file(folder: Path, rows: list[Any], suffix: str = ".jsonl") -> Path:
    file = folder / f"data{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": PAIR},
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        {"prompt": "q", "response": "a"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    ],
)
def test_every_usual_schema_gives_the_same(tmp_path: Path, row: dict[str, Any], suffix: str) -> None:
    data = _read(_file(tmp_path, [row, row], suffix))
    assert data.conversations == [Conversation("0", PAIR), Conversation("1", PAIR)]
    assert data.counts == {"rows": 2, "matched": 2, "kept": 2}


def test_input_and_system_join_the_conversation(tmp_path: Path) -> None:
    data = _read(_file(tmp_path, [{"instruction": "q", "input": "x", "output": "a", "system": "s"}]))
    contents = [(m["role"], m["content"]) for m in data.conversations[0].messages]
    assert contents == [("system", "s"), ("user", "q\n\nx"), ("assistant", "a")]


def test_other_column_names(tmp_path: Path) -> None:
    file = _file(tmp_path, [{"frage": "q", "antwort": "a"}])
    assert _read(file, columns={"prompt": "frage", "response": "antwort"}).conversations[0].messages == PAIR
    with pytest.raises(HarnessError, match="no known schema") as caught:
        _read(file)
    assert "frage" in caught.value.fix
    with pytest.raises(HarnessError, match="no column reply") as caught:
        _read(file, columns={"prompt": "frage", "response": "reply"})
    assert "Columns: frage, antwort." in caught.value.fix
    with pytest.raises(HarnessError, match="no usual column: reply"):
        _read(file, columns={"reply": "antwort"})


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    rows = [
        {"messages": PAIR},
        {"messages": [PAIR[0], {"role": "assistant", "content": " \n"}]},
        {"messages": [{"role": "system", "content": "s"}]},
        {"messages": []},
    ]
    data = _read(_file(tmp_path, rows))
    skipped = {"skipped: empty response": 1, "skipped: no user message": 2}
    assert data.counts == {"rows": 4, "matched": 4, "kept": 1, **skipped}
    assert [c.id for c in data.conversations] == ["0"]


def test_without_a_response_column_rows_are_prompts(tmp_path: Path) -> None:
    assert _read(_file(tmp_path, [{"instruction": "q"}])).conversations == [Conversation("0", PAIR[:1])]


def test_where_keeps_matching_rows_and_explains_none(tmp_path: Path) -> None:
    rows = [{"id": i, "prompt": "q", "response": "a", "model": f"m{i % 2}", "ok": i > 1} for i in range(4)]
    file = _file(tmp_path, rows)
    data = _read(file, where={"model": "m1", "ok": True})
    assert [c.id for c in data.conversations] == ["3"]
    assert data.counts == {"rows": 4, "matched": 1, "kept": 1}
    with pytest.raises(HarnessError, match="no row has") as caught:
        _read(file, where={"model": "m2"})
    assert "m0, m1" in caught.value.fix
    with pytest.raises(HarnessError, match="no column generator"):
        _read(file, where={"generator": "m1"})


def test_limit_draws_by_the_data_seed_and_keeps_the_order(tmp_path: Path) -> None:
    file = _file(tmp_path, [{"prompt": str(i), "response": "a"} for i in range(100)])
    drawn = [[int(c.id) for c in _read(file, seed, limit=10).conversations] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] == sorted(drawn[0])
    assert drawn[0] != drawn[2]
    assert len(set(drawn[0])) == 10
    assert drawn[0] != list(range(10))
    assert _read(file, limit=1000).counts["kept"] == 100


def test_prompts_join_from_another_file(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps([{"key": 7, "instruction": "seven"}, {"key": 8, "instruction": "eight"}]))
    file = _file(tmp_path, [{"key": 8, "output": "a"}, {"key": 7, "output": "b"}, {"key": 9, "output": "c"}])
    data = _read(file, prompts={"path": prompts, "on": "key"})
    found = {c.id: [m["content"] for m in c.messages] for c in data.conversations}
    assert found == {"8": ["eight", "a"], "7": ["seven", "b"]}
    assert data.counts["skipped: no prompt to join"] == 1
    with pytest.raises(HarnessError, match="no column index"):
        _read(file, prompts={"path": prompts})
    prompts.write_text(json.dumps([{"key": 7, "instruction": "x"}] * 2))
    with pytest.raises(HarnessError, match="more than once"):
        _read(file, prompts={"path": prompts, "on": "key"})


def test_ids_that_are_not_unique_give_way_to_row_numbers(tmp_path: Path) -> None:
    rows = [{"id": "x", "prompt": "q", "response": "a"}] * 2
    assert [c.id for c in _read(_file(tmp_path, rows)).conversations] == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", "{}\n{", "broken JSON"),
        ("a.json", "[1", "broken JSON"),
        ("a.json", "{}", "must be a list"),
        ("a.jsonl", "[]\n", "row can be used: .*a list, not an object"),
        ("a.jsonl", "", "no rows"),
        ("a.xml", "x", r"cannot read \.xml"),
        ("a.parquet", "x", "not a readable Parquet"),
        ("a.jsonl", '{"messages": [{"role": "robot", "content": "x"}]}', "unknown role 'robot'"),
        ("a.jsonl", '{"prompt": 3, "response": "x"}', "`prompt` is a number, not text"),
    ],
)
def test_faults_are_told(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(HarnessError, match=complaint):
        _read(tmp_path / name)
    with pytest.raises(HarnessError, match="no such data file"):
        _read(tmp_path / "absent.jsonl")


def test_json_lines_under_a_json_name(tmp_path: Path) -> None:
    file = _file(tmp_path, [{"prompt": "q", "response": "a"}] * 2)
    assert _read(file.rename(tmp_path / "lines.json")).counts["kept"] == 2


@pytest.mark.parametrize(("ending", "opener"), [("xz", lzma.open), ("gz", gzip.open)])
def test_compressed_lines(tmp_path: Path, ending: str, opener: Any) -> None:
    path = tmp_path / f"a.b.jsonl.{ending}"
    with opener(path, "wt", encoding="utf-8") as file:
        file.write('{"question": "1 + 1 ?", "answer": "2"}\n\n{"question": "ü ?", "answer": "é"}\n')
    data = _read(path, columns={"prompt": "question", "response": "answer"})
    assert [c.messages[-1]["content"] for c in data.conversations] == ["2", "é"]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(HarnessError, match="not a whole"):
        _read(path)
    with opener(path, "wt") as file:
        file.write('{"question": ')
    with pytest.raises(HarnessError, match="broken JSON"):
        _read(path)


def test_pocket_data() -> None:
    data = read_dataset(DatasetSettings.model_validate({"pocket": {"examples": 12}, "limit": 5}), 0)
    assert data.counts == {"rows": 12, "matched": 12, "kept": 5}
    assert data.conversations[0].messages[0]["role"] == "user"


def test_canonical_form_survives_a_round_trip(tmp_path: Path) -> None:
    made = [Conversation("é", [*PAIR, {"role": "user", "content": "line\u2028break\n"}])]
    write_conversations(tmp_path / "c.jsonl", made)
    assert list(read_conversations(tmp_path / "c.jsonl")) == made


def test_answers_join_their_prompts(alpaca_world: World) -> None:
    outputs, prompts = (pq.read_table(path).to_pylist() for path in (alpaca_world.outputs, alpaca_world.instructions))
    generators = Counter(row["generator"] for row in outputs)
    name = sorted(generators)[0]
    data = _read(alpaca_world.outputs, where={"generator": name}, prompts={"path": alpaca_world.instructions}, limit=50)
    assert data.counts["matched"] == generators[name]
    assert data.counts["rows"] == sum(generators.values())
    asked = {row["index"]: row["instruction"] for row in prompts}
    pairs = {(asked[row["index"]], row["output"]) for row in outputs if row["generator"] == name}
    assert len({c.id for c in data.conversations}) == 50
    for conversation in data.conversations:
        question, answer = conversation.messages
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert (question["content"], answer["content"]) in pairs
