"""Reading verdicts: as FastChat where a reply is clear, and no verdict where FastChat would guess."""

import json
import math
import re
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.judge.forms.alpaca_ranking import FIRST, SECOND
from harness.judge.forms.rating import expected_rating, fastchat_rating, read_choice, read_rating
from harness.judge.protocol import Protocol, find_protocol
from tests.worlds.mt_bench import World


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Rating: [[7]]", 7.0),
        ("Rating: [[8.5]] because", 8.5),
        ("Rating: [[10]]", 10.0),
        ("[[1]]", 1.0),
        ("[[0]]", 0.0),
        ("Rating: [6]", 6.0),
        ("**Rating**: [6]", 6.0),
        ("**Rating: [[8]]**", 8.0),
        ("Rating: **[[8]]**", 8.0),
        ("Rating: [[**8**]]", 8.0),
        ("Rating: [[ 8 ]]", 8.0),
        ("Rating: [[8/10]]", 8.0),
        ("Rating: [[8.5 / 10]]", 8.5),
        ("Rating: \\[\\[8\\]\\]", 8.0),
        ("评分：【【8】】", 8.0),
        ("a[0] and as [1] says: [[4]]", 4.0),
        ("[[7]] indeed [[7]] and [[7.0]]", 7.0),
        ("see [2] and [3]: [[4]]", 4.0),
    ],
)
def test_a_clear_rating(text: str, rating: float) -> None:
    assert read_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no rating"),
        ("Rating: 7", "no rating"),
        ("[[rating]]", "no rating"),
        ("[[-3]]", "no rating"),
        ("[[7]] or rather [[8]]", "different ratings in the reply: 7, 8"),
        ("I say [6].", "no rating"),
        ("The code reads xs[2], which is right.\n\nRating: 8/10", "no rating"),
        ("As the reference says [1], ice is water. **Rating: 8/10**", "no rating"),
        ("Rating: 8/10", "no rating"),
        ("[[8/5]]", "no rating"),
        ("[[7-8]]", "no rating"),
        ("[[7, 8]]", "no rating"),
        ("[[[7], [8]]]", "no rating"),
        ("Rating: [[8]], or Rating: [7]", "different ratings"),
        ("[[85]]", "outside 0..10"),
        ("[[10.5]]", "outside 0..10"),
    ],
)
def test_no_verdict_and_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_rating(text)


@pytest.mark.parametrize(("text", "rating"), [("Rating: [[7", 7.0), ("Rating: [[10", 10.0), ("1", 1.0)])
def test_a_constrained_rating(text: str, rating: float) -> None:
    assert read_choice(text) == rating


@pytest.mark.parametrize("text", ["Rating: [[", "Rating: [[5]]", "Rating: [[0", "Rating: [[11", "five"])
def test_a_server_that_ignores_the_constraint_gives_no_verdict(text: str) -> None:
    with pytest.raises(ValueError, match="did not constrain"):
        read_choice(text)


def test_the_expected_rating_by_hand() -> None:
    """Half on 4, half on 1; two in five of those that begin with 1 go on to 10: (4 * .5 + 1 * .3 + 10 * .2) / 1."""
    half = math.log(0.5)
    found = expected_rating([{"4": half, "1": half}, {"0": math.log(0.4), "]]": math.log(0.6)}])
    assert found == (4.3, "Rating: [[4.3000")


def test_mass_on_other_tokens_and_a_ten_of_its_own() -> None:
    first = {"The": math.log(0.5), "10": math.log(0.25), "8": math.log(0.25)}
    assert expected_rating([first, {}])[0] == 9.0


def test_no_number_among_the_likeliest_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="no number"):
        expected_rating([{"The": 0.0}, {"0": 0.0}])


def test_a_protocol_reads_a_text_or_tokens() -> None:
    both: dict[str, Any] = {"read": read_rating, "scored": expected_rating}
    for readers in ({}, both):
        with pytest.raises(ValueError, match="'odd' has not exactly one of"):
            Protocol("odd", 1, **readers)


def test_each_way_to_a_rating_has_a_version_and_a_name() -> None:
    found = [find_protocol("rating", way) for way in ("text", "choice", "expected")]
    assert [(p.name, p.version) for p in found] == [("rating", 2), ("rating-choice", 1), ("rating-expected", 1)]


def test_a_way_that_a_form_does_not_have_is_named() -> None:
    with pytest.raises(HarnessError, match="Choose from text, choice, expected"):
        find_protocol("rating", "guess")


def test_every_stored_judgment_is_read_as_fastchat_read_it(mt_bench_world: World) -> None:
    lines = mt_bench_world.judgments.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 320
    for row in rows:
        assert read_rating(row["judgment"]) == fastchat_rating(row["judgment"]) == row["score"]


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("[[7]] or rather [[8]]", 7.0),
        ("The code reads xs[2].\n\nRating: 8/10", 2.0),
        ("x[1]: [[9]]", 9.0),
        ("[[85]]", 85.0),
        ("[[8/10]]", None),
        ("Good.", None),
    ],
)
def test_what_fastchat_reads(text: str, rating: float | None) -> None:
    assert fastchat_rating(text) == rating


@pytest.mark.parametrize("form", ["rating", "pair", "arena", "alpaca-ranking"])
@pytest.mark.parametrize(
    ("thought", "whole"),
    [
        ("<think>Perhaps {draft}? It is right, so more.</think>\n\n", True),
        ("It may be {draft}.\n</think>\n\n", True),  # begun in the prompt
        ("<thinking>\n{draft}</thinking>", True),
        ("[THINK]{draft}[/THINK]", True),
        ("<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>", True),
        ("<think>{draft}, or better ", False),
        ("Well.\n<think>\n{draft}", False),
        ("<think>a</think>\n<think>{draft}", False),
    ],
)
def test_a_thought_is_no_verdict(form: str, thought: str, whole: bool) -> None:
    draft, last, value = {
        "rating": ("[[3]]", "Rating: [[8]]", 8.0),
        "pair": ("[[B]]", "[[A]]", 1.0),
        "arena": ("[[B>A]]", "[[A>B]]", 1.0),
        "alpaca-ranking": (SECOND, FIRST, 1.0),
    }[form]
    protocol = find_protocol(form, "text")
    if whole:
        assert protocol.verdict(thought.format(draft=draft) + last.strip()) == value
        return
    with pytest.raises(ValueError, match="has no end"):
        protocol.verdict(thought.format(draft=draft) + last)


def test_a_tag_that_is_only_mentioned_begins_no_thought() -> None:
    assert find_protocol("rating", "text").verdict("The answer opens a <think> block. Rating: [[4]]") == 4.0
