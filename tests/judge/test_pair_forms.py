"""Verdicts on pairs: MT-Bench's [[A]] and Arena-Hard's [[A>>B]], in every way to get them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.forms import arena, pair
from harness.judge.protocol import find_protocol
from tests.judge.stand_in import Judge, completion, reply, tasks

HALF, TENTH = math.log(0.5), math.log(0.1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Both fine. [[A]]", 1.0),
        ("[[B]]", 0.0),
        ("I call it [[C]].", 0.5),
        ("[[A]] as I said: [[A]]", 1.0),
        ("A is [[better]], [A], [[A>B]]; verdict [[B]]", 0.0),
    ],
)
def test_a_clear_winner(text: str, value: float) -> None:
    assert pair.read_winner(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "none of [[A]]"), ("[[a]]", "none of"), ("[A]", "none of"), ("[[A]] or [[B]] or [[C]]", "A, B, C")],
)
def test_no_winner_and_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        pair.read_winner(text)


@pytest.mark.parametrize("label", arena.VALUES)
def test_every_label_is_read_and_written(label: str) -> None:
    value = arena.read_verdict(f"My own answer: 4.\n\nMy final verdict is: [[{label}]]")
    assert value == arena.VALUES[label] == arena.read_choice(f"My final verdict is: [[{label}")
    assert arena.label(value) == label


def test_the_other_side_sees_the_mirrored_label() -> None:
    mirrored = {"A>>B": "B>>A", "A>B": "B>A", "A=B": "A=B", "B>A": "A>B", "B>>A": "A>>B"}
    assert {label: arena.label(1 - value) for label, value in arena.VALUES.items()} == mirrored


def test_a_significant_win_is_three_battles() -> None:
    assert [arena.battles(v) for v in arena.VALUES.values()] == [(1, 3), (1, 1), (0.5, 1), (0, 1), (0, 3)]
    assert arena.battles(0.7) == (0.7, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no verdict"),
        ("[[A >> B]]", "no verdict"),
        ("[A>B]", "no verdict"),
        ("[[A>B]] or [[B>A]]", "different verdicts in the reply: A>B, B>A"),
        ("[[A>B]], no: [[A>>B]]", "different verdicts"),
        ("[[A<B]]", "none of A>>B, A>B"),
        ("[[A]]", "none of"),
        ("[[]]", "no verdict"),
    ],
)
def test_no_arena_verdict_and_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        arena.read_verdict(text)


def test_the_same_label_twice_is_one_verdict() -> None:
    assert arena.read_verdict("[[B>>A]] ... so: [[B>>A]]") == -1


@pytest.mark.parametrize("text", ["My final verdict is: [[", "My final verdict is: [[A]]", "Sure!", "A>>>B"])
def test_a_server_that_ignores_the_constraint_gives_no_verdict(text: str) -> None:
    with pytest.raises(ValueError, match="none of"):
        pair.read_choice(text)
    with pytest.raises(ValueError, match="none of"):
        arena.read_choice(text)


def test_the_expected_winner_by_hand() -> None:
    """A .5, B .1, C .1 of what counts: (.5 + .1 / 2) / .7."""
    found = pair.expected_winner([{"A": HALF, "B": TENTH, "C": TENTH, "The": math.log(0.3)}])
    assert found == (round(0.55 / 0.7, 4), "My final verdict is: [[A 0.7857")


def test_the_expected_arena_verdict_by_hand() -> None:
    """A begins A>B, A>>B and A=B: .5 (.5 + .1) for A, .5 * .1 a tie, .1 * .5 for B."""
    first = {"A": HALF, "B": TENTH, "It": TENTH}
    share, text = arena.expected_verdict(
        [first, {">": HALF, ">>": TENTH, "=": TENTH, "]]": TENTH}, {">": HALF, "x": TENTH}]
    )
    assert share == pytest.approx((0.3 + 0.05 / 2) / (0.3 + 0.05 + 0.05), abs=5e-5)
    assert text == f"My final verdict is: [[A {share:.4f}"


def test_one_letter_alone_is_enough() -> None:
    assert pair.expected_winner([{"B": TENTH}])[0] == 0.0
    assert arena.expected_verdict([{"A": TENTH}, {">>": HALF}, {}])[0] == 1.0


def test_no_label_among_the_likeliest_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="none of A, B and C"):
        pair.expected_winner([{"The": 0.0}])
    with pytest.raises(ValueError, match="no verdict label"):
        arena.expected_verdict([{"A": 0.0}, {"nswer": 0.0}, {">": 0.0}])


@given(st.lists(st.floats(-20, 0), min_size=3, max_size=3))
def test_a_share_mirrors_with_its_answers(logprobs: list[float]) -> None:
    a, b, c = logprobs
    one, _ = pair.expected_winner([{"A": a, "B": b, "C": c}])
    other, _ = pair.expected_winner([{"A": b, "B": a, "C": c}])
    assert 0 <= one <= 1
    assert one + other == pytest.approx(1, abs=2e-4)


def test_each_way_has_a_version_and_a_name() -> None:
    for form in ("pair", "arena"):
        found = [find_protocol(form, way) for way in ("text", "choice", "expected")]
        assert [(p.name, p.version) for p in found] == [(form, 2), (f"{form}-choice", 1), (f"{form}-expected", 1)]


async def test_an_endpoint_is_asked_for_a_constrained_label(judge: Judge) -> None:
    judge.answer = lambda _body, _n: reply("B>>A")
    (verdict,) = await judge.ask(form="arena", protocol="choice")
    assert (verdict.reply.status, verdict.reply.value, verdict.reply.text) == ("ok", -1, "My final verdict is: [[B>>A")
    (body,) = judge.asked
    assert body["structured_outputs"]["choice"] == list(arena.VALUES)
    assert body["messages"][-1] == {"role": "assistant", "content": "My final verdict is: [["}


async def test_an_endpoint_is_asked_for_the_probabilities_behind_both_letters(judge: Judge) -> None:
    said = {"[[": {"A": HALF, "B": HALF}, "[[A": {"=": 0.0}, "[[B": {">": 0.0}}

    def answer(body: dict[str, object]) -> dict[str, float]:
        messages = body["messages"]
        assert isinstance(messages, list)
        return said[str(messages[-1]["content"]).removeprefix("My final verdict is: ")]

    def scored(body: dict[str, object], _n: int) -> object:
        top = [{"token": t, "logprob": p, "bytes": None} for t, p in answer(body).items()]
        logprobs = {"content": [{**top[0], "top_logprobs": top}]}
        message = {"role": "assistant", "content": "A"}
        return completion([{"index": 0, "message": message, "finish_reason": "length", "logprobs": logprobs}])

    judge.answer = scored  # type: ignore[assignment]
    (verdict,) = await judge.ask(given=tasks(1), form="arena", protocol="expected")
    assert (verdict.reply.status, verdict.reply.value) == ("ok", 0.25)
    assert len(judge.asked) == 3
