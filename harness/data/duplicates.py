"""Near-duplicates among many texts: a sketch of fixed size for each, on disk, and the texts whose sketches agree.

Two texts are near where their Jaccard similarity is `NEAR` or more: the share of runs of 8 bytes that both hold, of
those that either holds, case and white space aside. A sketch is a min-hash: the share of its `HASHES` numbers that two
sketches have in common estimates the similarity, without bias, its standard error at most 0.044 (0.035 at 0.8).
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.pool import mapped

NEAR = 0.8
"""Texts of this similarity or more are near."""
HASHES = 128
"""Numbers of a sketch."""
_RUN = 8
"""Bytes, which one number of 64 bits holds. In scripts of three bytes a character they are three characters."""
_BAND = 4
"""Numbers that two sketches must share, at one of HASHES / _BAND places, to be compared at all: two texts of similarity
0.8 do with a probability of 1 - 5e-8, those of 0.3 of 0.23."""
_ENOUGH, _PLENTY = 1024, 4096
"""Hashes after which a number of a sketch is unset with a probability of 3e-4, and of 1e-14."""
_UNSET = np.uint64(2**64 - 1)
_BATCH = 512
"""Texts that a process sketches at once."""
_AT_ONCE = 4096
"""Pairs of sketches that are compared at a time."""


def sketch(text: str) -> NDArray[np.uint16]:
    """The (HASHES,) numbers of a text.

    A run's hash says which number it competes for and with what value; the least wins. Short texts have fewer runs than
    a sketch has numbers: they are hashed in more rounds, of which an earlier one goes before.
    """
    runs = _runs(text)
    least = _least(runs, -(-_ENOUGH // len(runs)))
    if (least == _UNSET).any():
        runs = np.unique(runs)
        least = _least(runs, -(-_PLENTY // len(runs)))
    return least.astype(np.uint16)


def similarity(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The estimated similarities (n,) of two arrays (n, HASHES) of sketches."""
    return np.asarray((a == b).mean(axis=1))


def write_sketches(texts: Iterable[str], path: Path, processes: int = 1) -> NDArray[np.uint16]:
    """Sketch texts one after the other into a file; returns it memory-mapped, (texts, HASHES)."""
    texts = iter(texts)
    batches = iter(lambda: list(islice(texts, _BATCH)), [])
    with path.open("wb") as file:
        file.writelines(mapped(sketch_batch, batches, processes, start=start_process, arguments=()))
    if not path.stat().st_size:
        return np.empty((0, HASHES), np.uint16)
    return np.memmap(path, np.uint16, "r").reshape(-1, HASHES)


def start_process() -> None:
    """A process that sketches has nothing to load."""


def sketch_batch(texts: Sequence[str]) -> bytes:
    """The sketches of texts as the bytes of a file."""
    return b"".join(sketch(text).tobytes() for text in texts)


def repeated(sketches: NDArray[np.uint16]) -> NDArray[np.int64]:
    """For each text the number of an earlier one that it nearly repeats; -1 where there is none.

    The sketches may be memory-mapped: less than 50 bytes a text are held in memory.
    """
    earlier = np.full(len(sketches), -1, np.int64)
    bands = np.ascontiguousarray(sketches).view(np.uint64) if len(sketches) else np.empty((0, 0), np.uint64)
    for band in range(bands.shape[1]):
        keys = bands[:, band]
        order = np.argsort(keys, kind="stable")
        begins = np.concatenate([[True], keys[order[1:]] != keys[order[:-1]]])
        first = order[begins][np.cumsum(begins) - 1]
        open_ = ~begins & (earlier[order] < 0)
        later, first = order[open_], first[open_]
        for at in range(0, len(later), _AT_ONCE):
            ours, theirs = later[at : at + _AT_ONCE], first[at : at + _AT_ONCE]
            near = similarity(sketches[ours], sketches[theirs]) >= NEAR
            earlier[ours[near]] = theirs[near]
    return earlier


def _runs(text: str) -> NDArray[np.uint64]:
    """Every run of _RUN bytes of a text as a number, case and white space aside."""
    plain = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass").ljust(_RUN)
    return np.ndarray((len(plain) - _RUN + 1,), "<u8", plain, strides=(1,)).astype(np.uint64)


def _least(runs: NDArray[np.uint64], rounds: int) -> NDArray[np.uint64]:
    """The least value of each number of a sketch: the round in its upper 12 bits, then a hash's."""
    number = np.arange(rounds, dtype=np.uint64)[:, None]
    hashes = _mixed(runs + number * np.uint64(0x9E3779B97F4A7C15))
    values = (number << np.uint64(52)) | (hashes >> np.uint64(12))
    least = np.full(HASHES, _UNSET)
    np.minimum.at(least, (hashes % np.uint64(HASHES)).astype(np.intp).ravel(), values.ravel())
    return least


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: each bit of a number decides half of the bits of its hash."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
