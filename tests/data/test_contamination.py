import string
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import pocket
from harness.data.contamination import LEAKED, Overlap, ngrams, overlaps, words
from harness.data.conversations import Conversation
from harness.data.settings import PocketData

LONG = "Write a short story about a lighthouse keeper who finds a letter in a bottle on a stormy night."
"""19 words, so 7 n-grams of 13."""


def said(*texts: str) -> list[Conversation]:
    """One conversation per text, answered."""
    answer = {"role": "assistant", "content": "Yes."}
    return [Conversation(f"row-{i}", [{"role": "user", "content": text}, answer]) for i, text in enumerate(texts)]


def one(turns: Sequence[str], *texts: str, n: int = 13) -> Overlap:
    (found,) = overlaps({"p": turns}, said(*texts), n)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "what is the CAPITAL of france",
        "  What is\n the capital\tof France ?!  ",
        "“What is the capital of France?”",
        "What is the capital of Ｆｒａｎｃｅ?",
    ],
)
def test_case_space_and_punctuation_do_not_hide_a_prompt(text: str) -> None:
    assert one(["What is the capital of France?"], "Another one.", text) == Overlap("p", True, None, "row-1")


@pytest.mark.parametrize("text", ["What is the capital of Spain?", "Q: What is the capital of France? A:", ""])
def test_a_short_prompt_counts_only_whole(text: str) -> None:
    assert one(["What is the capital of France?"], text) == Overlap("p", False, None, None)


def test_messages_of_every_role_are_searched() -> None:
    rows = [Conversation("r", [{"role": "assistant", "content": LONG}])]
    assert overlaps({"p": [LONG]}, rows) == [Overlap("p", True, 1.0, "r")]


def test_a_long_prompt_inside_a_template_is_found() -> None:
    found = one([LONG], "Hello.", f"Below is an instruction.\n### Instruction:\n{LONG}\n### Response:")
    assert found == Overlap("p", False, 1.0, "row-1")
    assert found.leaked


def test_the_share_is_that_of_different_ngrams_in_all_rows() -> None:
    parts = LONG.split()
    assert one([LONG], " ".join(parts[:13])).share == pytest.approx(1 / 7)
    assert one([LONG], " ".join(parts[:13]), " ".join(parts[:13])).share == pytest.approx(1 / 7)
    assert one([LONG], " ".join(parts[:14]), " ".join(parts[1:16])).share == pytest.approx(4 / 7)
    assert one([LONG], " ".join(parts[:12])) == Overlap("p", False, 0.0, None)
    assert one([LONG], " ".join(parts[:8]), n=8).share == pytest.approx(1 / 12)


def test_a_turn_of_phrase_in_common_is_no_leak() -> None:
    found = one([LONG], " ".join(LONG.split()[:14]) + " ring and sells it")
    assert found.share is not None
    assert 0 < found.share < LEAKED
    assert not found.leaked
    assert found.row == "row-0"


def test_ngrams_do_not_run_from_one_message_into_the_next() -> None:
    parts = LONG.split()
    split = [{"role": "user", "content": " ".join(parts[:9])}, {"role": "assistant", "content": " ".join(parts[9:])}]
    assert overlaps({"p": [LONG]}, [Conversation("r", split)]) == [Overlap("p", False, 0.0, None)]


def test_later_turns_count_by_their_ngrams_alone() -> None:
    """`Now reverse it` says nothing where it stands alone; a long second turn does."""
    assert one(["A riddle?", "Now reverse it."], "now reverse it") == Overlap("p", False, None, None)
    assert one(["A riddle?", LONG], LONG) == Overlap("p", False, 1.0, "row-0")


def test_the_row_is_that_of_the_exact_match_where_there_is_one() -> None:
    assert one([LONG], LONG + " Please.", LONG).row == "row-1"


def test_prompts_that_are_equal_are_each_found() -> None:
    found = overlaps({"a": [LONG], "b": [LONG], "c": ["Other?"]}, said(LONG))
    assert [(o.prompt, o.exact, o.share) for o in found] == [("a", True, 1.0), ("b", True, 1.0), ("c", False, None)]


def test_a_prompt_without_words_matches_nothing() -> None:
    assert one(["?!"], "...", "?!") == Overlap("p", False, None, None)
    assert overlaps({"p": ["?!"]}, []) == [Overlap("p", False, None, None)]


@given(st.text(string.printable), st.integers(1, 4))
def test_words_are_the_same_in_any_case_and_spacing(text: str, n: int) -> None:
    assert words(" , ".join(words(text)).upper()) == words(text)
    assert words(f"{text} \u2014") == words(text), "an ASCII text is split as any other is"
    assert len(list(ngrams(words(text), n))) == max(0, len(words(text)) - n + 1)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), st.lists(st.sampled_from("abcd"), max_size=12))
def test_the_share_by_brute_force(prompt: list[str], row: list[str]) -> None:
    text = " ".join(row)
    wanted = {" ".join(prompt[i : i + 3]) for i in range(len(prompt) - 2)}
    share = sum(f" {gram} " in f" {text} " for gram in wanted) / len(wanted) if wanted else None
    assert one([" ".join(prompt)], text, n=3).share == share


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_pocket_questions_are_not_in_pocket_data_and_a_planted_one_is_found(ratio: float) -> None:
    questions = {str(i): [t.text for t in q.turns] for i, q in enumerate(pocket.questions(400, 0))}
    made = pocket.conversations(PocketData(examples=4000, domain_ratio=ratio, seed=1))
    rows = [Conversation(c["id"], c["messages"]) for c in made]
    assert not [o for o in overlaps(questions, rows) if o.exact or o.leaked]
    rows[17] = Conversation("planted", [{"role": "user", "content": questions["33"][0].upper()}])
    assert [(o.prompt, o.row) for o in overlaps(questions, rows) if o.exact] == [("33", "planted")]


def test_a_thousand_rows_of_one_pool_of_words() -> None:
    random = Random(0)
    pool = random.choices([f"w{i}" for i in range(20_000)], [1 / (i + 1) for i in range(20_000)], k=500_000)

    def text(size: int) -> str:
        start = random.randrange(len(pool) - size)
        return " ".join(pool[start : start + size])

    prompts = {str(i): [text(60)] for i in range(1000)}
    rows = said(*(text(300) for _ in range(1000)))
    found = overlaps(prompts, rows)
    assert sum(bool(o.share) for o in found) > 500, "both are drawn from one pool"
