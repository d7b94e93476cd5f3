"""The pocket world: deterministic, disjoint, and every answer right by an oracle that reads only the text."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.data.pocket import CATEGORIES, check, conversations, items, questions, solve
from harness.data.pocket_words import CATEGORY_OF, WORDS
from harness.data.settings import PocketData


def texts(settings: PocketData) -> list[str]:
    return [m["content"] for c in conversations(settings) for m in c["messages"]]


def attributes(text: str) -> dict[str, str]:
    """`color red ; size small` as a dictionary."""
    return dict(pair.split()[:2] for pair in text.split(" ; ") if len(pair.split()) == 2)


def oracle(text: str, before: str, first: str) -> str:
    """The answer to a question from its words alone; `before` and `first` are the previous question and answer."""
    words = text.split()
    listed = (before or text).split(" : ")[-1].split()
    match words:
        case ["copy", *_]:
            return " ".join(listed)
        case ["reverse", *_] | ["now", "reverse", "it"]:
            return " ".join(reversed(first.split() if first else listed))
        case ["now", "only", "the", end, "word"]:
            return listed[0] if end == "first" else listed[-1]
        case ["sort", *_]:
            return " ".join(sorted(listed, key=int))
        case ["now", "from", "largest", *_]:
            return " ".join(reversed(first.split()))
        case ["how", "many", word, "in", *_] | ["and", "how", "many", word]:
            return str(listed.count(word))
        case ["what", "is", a, ("plus" | "minus") as sign, b, "?"]:
            return str(int(a) + int(b) if sign == "plus" else int(a) - int(b))
        case ["now", "add", n] | ["now", "with", n, "shipping"]:
            return str(int(first) + int(n))
        case ["now", "take", "away", n] | ["now", "with", n, "off"]:
            return str(int(first) - int(n))
        case ["what", "is", "the", ("largest" | "smallest") as end, "of", *numbers, "?"]:
            return (max if end == "largest" else min)(numbers, key=int)
        case ["and", "the", ("largest" | "smallest") as end, "?"]:
            return (max if end == "largest" else min)(before.split()[5:-1], key=int)
        case ["and", "the", name, "?"]:
            return attributes(before)[name]
        case ["does", "it", "fit", "in", category, "?"]:
            return "yes" if CATEGORY_OF[attributes(before)["item"]] == category else "no"
    *_, question = text.split(" ; ")
    if question == "which category does it fit ?":
        return CATEGORY_OF[attributes(text)["item"]]
    if question.startswith("what is the"):
        return " ".join(attributes(text)[n] for n in question.split()[3:-1] if n != "and")
    prices = {part.split()[1]: int(part.split()[3]) for part in text.split(" ; ")[:2]}
    if question.startswith("how much more"):
        named = prices.pop(question.split()[-3] if question.split()[-2] == "cost" else question.split()[5])
        return str(named - prices.popitem()[1])
    assert question == "what does both cost ?"
    return str(sum(prices.values()))


@given(st.integers(0, 10**6), st.sampled_from(sorted(CATEGORIES)))
def test_answers_are_right_by_the_text_alone(seed: int, category: str) -> None:
    one, two = next(items(CATEGORIES[category], "train", seed, category=category)).turns
    assert one.answer == oracle(one.text, "", "")
    assert two.answer == oracle(two.text, one.text, one.answer)


def test_every_training_answer_passes_its_own_check() -> None:
    stream = items("domain", "train", 3)
    for _ in range(300):
        for turn in next(stream).turns:
            assert check(turn.facts, turn.answer) == (1.0, "right")


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("3 7 12", 1.0),
        ("  3  7\n12 ", 1.0),
        ("12 7 3", 0.0),
        ("3 7", 0.0),
        ("3 7 12 .", 0.0),
        ("it is 3 7 12", 0.0),
        ("", 0.0),
    ],
)
def test_only_the_right_words_in_the_right_order_pass(answer: str, score: float) -> None:
    assert check({"op": "ascending", "numbers": [7, 12, 3]}, answer)[0] == score


def test_case_does_not_count_and_a_wrong_answer_says_what_was_expected() -> None:
    facts = {"op": "category", "product": "shirt"}
    assert check(facts, "Clothes")[0] == 1.0
    assert check(facts, "toys") == (0.0, "expected `clothes`")


@pytest.mark.parametrize("facts", [{}, {"op": "fly"}, {"op": "plus", "a": 1}, {"op": "category", "product": "whale"}])
def test_facts_of_another_world_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not facts of the pocket world"):
        solve(facts)


def test_same_seed_same_data_and_another_seed_other_data() -> None:
    settings = PocketData(examples=200, domain_ratio=0.3, seed=5)
    assert conversations(settings) == conversations(settings)
    assert texts(settings) != texts(settings.model_copy(update={"seed": 6}))


def test_data_is_pinned() -> None:
    """Changing the world changes what recorded results mean: raise the stage versions when this changes."""
    assert derive_seed(conversations(PocketData(examples=50, domain_ratio=0.5))) == PINNED


PINNED = 9145835721133597065


def test_more_data_begins_with_the_smaller_data() -> None:
    small, large = PocketData(examples=50, domain_ratio=0.4), PocketData(examples=200, domain_ratio=0.4)
    assert conversations(large)[:50] == conversations(small)


@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.29, 0.7, 1.0])
def test_the_domain_share_is_exact(ratio: float) -> None:
    made = conversations(PocketData(examples=100, domain_ratio=ratio))
    assert sum(c["id"].startswith("domain") for c in made) == round(100 * ratio)
    assert len({c["id"] for c in made}) == 100


def test_general_examples_do_not_depend_on_the_domain_share() -> None:
    half = {c["id"]: c for c in conversations(PocketData(examples=100, domain_ratio=0.5))}
    pure = {c["id"]: c for c in conversations(PocketData(examples=100))}
    shared = half.keys() & pure.keys()
    assert len(shared) == 50
    assert all(half[name] == pure[name] for name in shared)


def test_two_turn_share() -> None:
    for share, low, high in ((0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)):
        made = conversations(PocketData(examples=200, two_turn_share=share))
        assert low <= sum(len(c["messages"]) == 4 for c in made) <= high


def test_noise_makes_wrong_answers_and_leaves_questions_alone() -> None:
    clean = texts(PocketData(examples=200, domain_ratio=0.5))
    noisy = texts(PocketData(examples=200, domain_ratio=0.5, noise=0.3))
    assert clean[::2] == noisy[::2]
    wrong = [a != b for a, b in zip(clean[1::2], noisy[1::2], strict=True)]
    assert 0.2 < sum(wrong) / len(wrong) < 0.4


def test_training_and_evaluation_share_no_question() -> None:
    made = conversations(PocketData(examples=3000, domain_ratio=0.4))
    trained = {c["messages"][0]["content"] for c in made}
    asked = [q.turns[0].text for q in questions(400, 0)]
    assert not trained & set(asked)
    assert trained & {next(items("general", "train", 0)).turns[0].text}, "the comparison must be able to fail"


def test_questions_are_different_and_balanced() -> None:
    made = questions(160, 0)
    assert Counter(q.category for q in made) == dict.fromkeys(CATEGORIES, 20)
    assert len({tuple(t.text for t in q.turns) for q in made}) == 160
    assert [q.category for q in made[:8]] == list(CATEGORIES)
    assert made != questions(160, 1)


def test_more_questions_than_there_are_is_an_error() -> None:
    with pytest.raises(HarnessError, match="fewer than"):
        questions(2000, 0)


def test_the_vocabulary_is_small_and_closed() -> None:
    said = {word for text in texts(PocketData(examples=3000, domain_ratio=0.5)) for word in text.split()}
    assert said <= set(WORDS)
    assert len(WORDS) == len(set(WORDS)) <= 200
