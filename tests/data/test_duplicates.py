"""The sketches against exact Jaccard similarities, and the rows that they find."""

import tracemalloc
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.duplicates import HASHES, NEAR, repeated, similarity, sketch, write_sketches

WORDS = ("the", "river", "house", "of", "stone", "and", "seven", "small", "birds", "that", "sing", "at", "noon")
TEXTS = st.text(max_size=120)


def exact(a: str, b: str) -> float:
    """The Jaccard similarity of the sets of runs of 8 bytes, written plainly."""
    sets = []
    for text in (a, b):
        plain = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass").ljust(8)
        sets.append({plain[at : at + 8] for at in range(len(plain) - 7)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def estimate(a: str, b: str) -> float:
    return float(similarity(sketch(a)[None], sketch(b)[None])[0])


def altered(random: Random, words: int, changes: float) -> tuple[str, str]:
    """A text of random words, and the same with a share of them replaced."""
    text = [f"{random.choice(WORDS)}{random.randrange(50)}" for _ in range(words)]
    other = [f"other{random.randrange(99)}" if random.random() < changes else word for word in text]
    return " ".join(text), " ".join(other)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_an_estimate_is_within_six_standard_errors(shared: str, a: str, b: str) -> None:
    one, other = shared + a, shared + b
    similar = exact(one, other)
    error = max((similar * (1 - similar) / HASHES) ** 0.5, 1 / HASHES)
    assert abs(estimate(one, other) - similar) <= 6 * error


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_case_and_white_space_do_not_count(text: str) -> None:
    spaced = "\n\t " + "  ".join(text.split(" ")) + " "
    assert estimate(text.casefold(), spaced.casefold()) == 1


@pytest.mark.parametrize("words", [3, 40, 400])
def test_estimates_are_unbiased_for_short_texts_and_long(words: int) -> None:
    random = Random(words)
    errors = [estimate(*pair) - exact(*pair) for pair in (altered(random, words, 0.05) for _ in range(200))]
    # The mean of 200 has a standard error of at most 0.044 / sqrt(200).
    assert abs(np.mean(errors)) <= 4 * 0.044 / 200**0.5
    assert np.std(errors) <= 0.05


def test_rows_that_are_near_are_found_and_others_are_not(tmp_path: Path) -> None:
    """Of pairs far enough from the threshold for the error of 128 hashes, all; with the first of equal rows."""
    random = Random(1)
    pairs = [altered(random, 60, random.choice((0, 0.01, 0.2, 1))) for _ in range(300)]
    texts = [first for first, _ in pairs] + [second for _, second in pairs]
    earlier = repeated(write_sketches(texts, tmp_path / "sketches"))
    assert (earlier[:300] == -1).all()
    similar = np.array([exact(*pair) for pair in pairs])
    clear = abs(similar - NEAR) > 4 * (NEAR * (1 - NEAR) / HASHES) ** 0.5
    assert clear.sum() > 200
    near = clear & (similar > NEAR)
    assert 0 < near.sum() < clear.sum()
    np.testing.assert_array_equal(earlier[300:][near], np.flatnonzero(near))
    assert (earlier[300:][clear & ~near] == -1).all()


def test_many_repeats_of_one_row_name_the_first(tmp_path: Path) -> None:
    texts = ["another text altogether", *["the same"] * 10_000]
    assert repeated(write_sketches(texts, tmp_path / "sketches")).tolist() == [-1, -1, *[1] * 9_999]


def test_memory_is_below_fifty_bytes_a_row(tmp_path: Path) -> None:
    rows = 100_000
    made = np.random.default_rng(0).integers(0, 2**16, (rows, HASHES), dtype=np.uint16)
    made[::3] = made[0]
    made.tofile(tmp_path / "sketches")
    del made
    stored = np.memmap(tmp_path / "sketches", np.uint16, "r").reshape(-1, HASHES)
    tracemalloc.start()
    assert (repeated(stored) == 0).sum() == rows // 3
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * rows + 5e6, "5 MB hold the sketches that are compared at a time"


def test_several_processes_write_the_same(tmp_path: Path) -> None:
    texts = [f"text {number} of many" for number in range(1_300)]
    one = write_sketches(texts, tmp_path / "one")
    assert one.shape == (1_300, HASHES)
    np.testing.assert_array_equal(write_sketches(texts, tmp_path / "two", processes=2), one)


def test_no_texts_and_empty_texts(tmp_path: Path) -> None:
    assert repeated(write_sketches([], tmp_path / "none")).tolist() == []
    texts = ["", " ", "a", "\ud800", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbb"]
    assert repeated(write_sketches(texts, tmp_path / "few")).tolist() == [-1, 0, -1, -1, -1, -1]
