import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.core.errors import HarnessError
from harness.data.pocket import conversations as pocket_conversations
from harness.data.pocket import named
from harness.data.settings import PocketData
from harness.models.chat import encode
from harness.models.load import load_reward_model, load_tokenizer
from harness.teachers.rewards import model_rewards, program_rewards, reach, recorded_rewards
from harness.teachers.settings import RecordedReward, RewardSettings


def _quiet(*_: Any) -> None:
    pass


def _chat(name: str, *texts: str) -> dict[str, Any]:
    return {"id": name, "messages": [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)]}


@pytest.fixture(scope="module")
def reward_folder(pocket_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket model with a random row of weights as its reward."""
    folder = tmp_path_factory.mktemp("reward")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_reward_model(pocket_folder, "float32", new_head=True)
    model.config.pad_token_id = 0
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (pocket_folder / name).exists():
            shutil.copyfile(pocket_folder / name, folder / name)
    return folder


def _rewards(folder: Path, chats: list[dict[str, Any]], **settings: Any) -> list[float | None]:
    return model_rewards(folder, chats, RewardSettings(model="path:reward", **settings), _quiet)


def test_reward_is_the_models_one_logit_whatever_the_batch(reward_folder: Path) -> None:
    chats = pocket_conversations(PocketData(examples=9))
    model, tokenizer = load_reward_model(reward_folder, "float32"), load_tokenizer(reward_folder)
    want = []
    for chat in chats:
        with torch.no_grad():
            want.append(model(torch.tensor([encode(tokenizer, chat["messages"], 512).input_ids])).logits.item())
    assert len(set(want)) > 1
    for size in (1, 4, 100):
        assert _rewards(reward_folder, chats, batch_size=size) == pytest.approx(want, abs=1e-5)


def test_unpadded_config_takes_the_tokenizers_padding(reward_folder: Path, tmp_path: Path) -> None:
    chats = pocket_conversations(PocketData(examples=5))
    bare = Path(shutil.copytree(reward_folder, tmp_path / "bare"))
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    assert _rewards(bare, chats) == pytest.approx(_rewards(reward_folder, chats), abs=1e-5)


def test_blank_and_too_long_answers_have_no_reward(reward_folder: Path) -> None:
    chats = [
        _chat("a", "copy red", "red"),
        _chat("b", "copy red", " "),
        _chat("c", "copy red"),
        _chat("d", "x", "y " * 99),
    ]
    told: list[tuple[Any, ...]] = []
    settings = RewardSettings(model="path:reward", max_length=40)
    got = model_rewards(reward_folder, chats, settings, lambda *step: told.append(step))
    assert [value is None for value in got] == [False, True, True, True]
    assert told == [(1, 1, "responses")]
    assert _rewards(reward_folder, []) == []


def test_models_that_are_no_reward_model_are_refused(pocket_folder: Path, reward_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="weights are missing"):
        _rewards(pocket_folder, [])
    foreign = Path(shutil.copytree(reward_folder, tmp_path / "foreign"))
    config = json.loads((foreign / "config.json").read_text())
    code = {"AutoModelForSequenceClassification": "modeling_custom.RewardModel"}
    (foreign / "config.json").write_text(json.dumps({**config, "auto_map": code}))
    with pytest.raises(HarnessError, match="code of its own"):
        _rewards(foreign, [])
    unknown = Path(shutil.copytree(reward_folder, tmp_path / "unknown"))
    (unknown / "config.json").write_text(json.dumps({**config, "model_type": "never-heard-of"}))
    with pytest.raises(HarnessError, match="cannot be loaded"):
        _rewards(unknown, [])
    two = Path(shutil.copytree(reward_folder, tmp_path / "two"))
    (two / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a", "1": "b"}}))
    weights = load_file(two / "model.safetensors")
    weights["score.weight"] = weights["score.weight"].repeat(2, 1)
    save_file(weights, two / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match="one label, this one has 2"):
        _rewards(two, [])


@pytest.mark.parametrize("seed", [0, 7])
def test_program_knows_the_truth_of_every_training_conversation(seed: int) -> None:
    data = PocketData(examples=60, domain_ratio=0.4, seed=seed)
    chats = pocket_conversations(data)
    assert program_rewards(chats) == [1.0] * 60
    candidates = [{**chat, "id": f"{chat['id']}#3"} for chat in chats]
    assert program_rewards(candidates[::-1]) == [1.0] * 60
    noisy = pocket_conversations(data.model_copy(update={"noise": 1.0}))
    assert program_rewards(noisy) == [0.0] * 60


def test_program_gives_the_share_of_right_turns() -> None:
    chat = next(c for c in pocket_conversations(PocketData(examples=20)) if len(c["messages"]) == 4)
    half = {**chat, "messages": [*chat["messages"][:3], {"role": "assistant", "content": "wrong"}]}
    blank = {**chat, "messages": [*chat["messages"][:3], {"role": "assistant", "content": " "}]}
    unanswered = {**chat, "messages": chat["messages"][:3]}
    assert program_rewards([half, blank, unanswered]) == [0.5, None, None]


def test_program_refuses_another_world() -> None:
    chat = pocket_conversations(PocketData(examples=1))[0]
    other = {**chat, "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]}
    for stranger in (other, {**chat, "id": "17"}, {**chat, "id": "general-5-0"}):
        with pytest.raises(HarnessError, match="not of the pocket world"):
            program_rewards([stranger])


def test_items_are_found_by_the_conversations_ids() -> None:
    chats = {c["id"]: c for c in pocket_conversations(PocketData(examples=12, domain_ratio=0.5, seed=3))}
    found = named([*chats, "general-3-x", "elsewhere"])
    assert set(found) == set(chats)
    assert all(found[name].turns[0].text == chat["messages"][0]["content"] for name, chat in chats.items())


ROWS = [
    {"uuid": "a", "gen": {"name": "m-1.5"}, "rm": 1.5, "responses": [{"model": "x", "r": {"armo": 0.5}}]},
    {"uuid": "a", "gen": {"name": "other"}, "rm": 9.0, "responses": []},
    {
        "uuid": "b",
        "gen": {"name": "m-1.5"},
        "rm": None,
        "responses": [{"model": "y"}, {"model": "x", "r": {"armo": 2}}],
    },
    {"uuid": "c", "gen": {"name": "m-1.5"}, "rm": -3, "responses": None},
]


def _write(path: Path) -> Path:
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        case ".json":
            path.write_text(json.dumps(ROWS))
        case ".parquet":
            pd.DataFrame(ROWS).to_parquet(path)
        case _:
            flat = [{"uuid": row["uuid"], "rm": row["rm"], "gen.name": row["gen"]["name"]} for row in ROWS]  # type: ignore[index]
            pd.DataFrame(flat).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet", "csv"])
def test_recorded_rewards_are_found_by_id(tmp_path: Path, ending: str) -> None:
    file = _write(tmp_path / f"rewards.{ending}")
    how = RecordedReward(path=file, column="rm", on="uuid", where={"gen.name": "m-1.5"})
    assert recorded_rewards(["c", "a", "b", "unknown"], how) == [-3.0, 1.5, None, None]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_recorded_rewards_of_nested_records(tmp_path: Path, ending: str) -> None:
    file = _write(tmp_path / f"rewards.{ending}")
    how = RecordedReward(path=file, column="responses.model=x.r.armo", on="uuid", where={"gen.name": "m-1.5"})
    assert recorded_rewards(["a", "b", "c"], how) == [0.5, 2.0, None]
    first = how.model_copy(update={"column": "responses.0.r.armo"})
    assert recorded_rewards(["a", "b", "c"], first) == [0.5, None, None]


def test_paths_reach_past_names_with_dots() -> None:
    record = {"rewards": {"Llama-3.1-8B": {"score": 4}}, "list": [{"score": 0.1}], "rewards.flat": 2}
    assert reach(record, "rewards.Llama-3.1-8B.score") == 4
    assert reach(record, "rewards.flat") == 2
    assert reach(record, "list.0.score") == 0.1
    assert [reach(record, p) for p in ("list.1", "list.x", "nothing", "list.0.score.more")] == [None] * 4


def test_numbers_as_ids(tmp_path: Path) -> None:
    file = tmp_path / "rewards.csv"
    file.write_text("index,reward\n0,0.25\n1,\n")
    assert recorded_rewards(["1", "0"], RecordedReward(path=file, column="reward", on="index")) == [None, 0.25]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"where": {}}, "several rewards for uuid 'a'"),
        ({"column": "score"}, "nothing at 'score'"),
        ({"on": "id"}, "nothing at 'id'"),
        ({"where": {"model": "x"}}, "nothing at 'model'"),
        ({"column": "uuid"}, "must be a number, not 'a'"),
        ({"where": {"gen.name": "nobody"}}, "no row matches"),
        ({"path": Path("absent.csv")}, "no such data file"),
        ({"path": Path("absent.jsonl")}, "no such data file"),
    ],
)
def test_faults_of_recorded_rewards_name_their_place(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    file = _write(tmp_path / "rewards.jsonl")
    values = {"path": file, "column": "rm", "on": "uuid", "where": {"gen.name": "m-1.5"}, **change}
    with pytest.raises(HarnessError, match=match) as caught:
        recorded_rewards(["a"], RecordedReward(**values))
    assert str(values["path"]) in caught.value.where


def test_rewards_of_other_prompts_are_no_rewards(tmp_path: Path) -> None:
    file = _write(tmp_path / "rewards.jsonl")
    how = RecordedReward(path=file, column="rm", on="uuid", where={"gen.name": "m-1.5"})
    with pytest.raises(HarnessError, match="no reward belongs to a response"):
        recorded_rewards(["0", "1"], how)
    assert recorded_rewards([], how) == []
