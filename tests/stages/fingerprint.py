"""What an artifact holds, in little: text and whole numbers to the byte, floats as near as their sums are.

Processors add up in different orders (AVX2, AVX-512, one thread or two), so floats differ in their last bits. How far
two right results may be apart follows from how they were made:

- A float here went through at most `_CHAIN` sums, one after another (a forward and a backward pass of one layer: norms,
  projections, attention, the output matrix, softmax), of at most `_TERMS` terms each (the widest: 122 words, 128 values
  of a batch). A term is rounded to float32 once. Were all roundings to go one way, the result would be off by
  `ERROR` = chain x terms x 2^-24 of the size of what was added; they do not, and what is measured is a hundredth of it.
- An array is held by `_PROJECTIONS` sums over it with fixed random signs and weights between half and one and a half:
  a value that changed, rows that changed places and signs that flipped all change them, which a mean would not show.
  Errors do not know the signs, so n of them add up to sqrt(n) times one of them.
- Adam divides a gradient by its own size. A gradient that is nothing but rounding (as large as `ERROR` of the others:
  fewer than one weight of an array of some thousand) still moves its weight by the whole learning rate, in either
  direction. So one weight of each trained array may be apart by twice the sum of the learning rates.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.core.canonical import digest
from harness.core.lines import read_lines
from harness.store.store import RECORD

_CHAIN, _TERMS = 20, 128
ERROR = _CHAIN * _TERMS * 2.0**-24
_PROJECTIONS = 2
_HEAVIEST = 1.5
"""The largest weight of a projection."""
PASSING = {"transformers_version", "seconds"}
"""What a new release of a dependency or a clock writes into a file, and a stage does not."""
_SPREAD_OF = {"stderr": "value"}
"""A spread is the difference of values, and only as exact as they are."""


def fingerprint(folder: Path) -> dict[str, Any]:
    """Every file of an artifact by name."""
    travel, paths = travelled(folder), files(folder)
    return {path.relative_to(folder).as_posix(): of_file(path, travel) for path in paths}


def files(folder: Path) -> list[Path]:
    """What a stage put out."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)


def travelled(folder: Path) -> float:
    """How far training may have carried a weight: the sum of its learning rates."""
    log = folder / "log.jsonl"
    return sum(row["learning_rate"] for row in read_lines(log)) if log.exists() else 0.0


def of_file(path: Path, travel: float = 0.0) -> dict[str, Any]:
    """The `text` of a file as a digest, and its `floats` by name; `travel` is how far a weight of it was carried."""
    if path.suffix == ".safetensors":
        return _weights(path, travel)
    if path.suffix == ".parquet":
        return _table(pd.read_parquet(path))
    if path.suffix == ".npy":
        array = np.load(path)
        return _arrays(str(array.dtype), {"array": array})
    if path.suffix in (".json", ".jsonl"):
        value = list(read_lines(path)) if path.suffix == ".jsonl" else json.loads(path.read_text())
        floats: dict[str, list[float]] = {}
        return _arrays(_taken(value, "", floats), {name: np.array(found) for name, found in floats.items()})
    return _arrays(path.read_bytes().hex() if path.suffix == ".bin" else path.read_text(), {})


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The files in which an artifact is not what it was."""
    return [
        name for name in sorted({*was, *now}) if name not in was or name not in now or not _same(was[name], now[name])
    ]


def _same(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    floats: tuple[dict[str, Any], dict[str, Any]] = was["floats"], now["floats"]
    if was["text"] != now["text"] or floats[0].keys() != floats[1].keys():
        return False
    return all(_near(old, floats[1][name]) for name, old in floats[0].items())


def _near(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    pairs = zip(was["projections"], now["projections"], strict=True)
    return was["shape"] == now["shape"] and all(abs(old - new) <= was["within"] for old, new in pairs)


def _taken(value: Any, key: str, floats: dict[str, list[float]]) -> Any:
    """A JSON value without its floats, which go to their keys."""
    if isinstance(value, float):
        floats.setdefault(key, []).append(value)
        return "float"
    if isinstance(value, dict):
        return {name: _taken(item, f"{key}/{name}", floats) for name, item in value.items() if name not in PASSING}
    return [_taken(item, key, floats) for item in value] if isinstance(value, list) else value


def _weights(path: Path, travel: float) -> dict[str, Any]:
    from safetensors.torch import load_file

    tensors = dict(sorted(load_file(path).items()))
    dtypes = [str(tensor.dtype) for tensor in tensors.values()]
    return _arrays(dtypes, {name: tensor.float().numpy() for name, tensor in tensors.items()}, travel)


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    """Measured columns as numbers, the others by their text."""
    measured = {str(name): frame[name] for name in frame if pd.api.types.is_float_dtype(frame[name])}
    text = [list(frame.columns), frame.drop(columns=list(measured)).to_csv()]
    return _arrays(text, {name: column.to_numpy("float64", na_value=np.nan) for name, column in measured.items()})


def _arrays(text: Any, arrays: Mapping[str, np.ndarray], travel: float = 0.0) -> dict[str, Any]:
    """Text, whole numbers and the places of what is no number to the byte; floats by their projections."""
    exact: dict[str, Any] = {}
    floats: dict[str, Any] = {}
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating):
            exact[name] = {str(at): str(array.flat[at]) for at in np.flatnonzero(~np.isfinite(array))}
            floats[name] = _floats(array, arrays.get(_SPREAD_OF.get(name, name), array), travel)
        else:
            exact[name] = array.tolist()
    return {"text": digest([text, exact]), "floats": floats}


def _floats(array: np.ndarray, terms: np.ndarray, travel: float) -> dict[str, Any]:
    """Shape and projections of an array, and how far those of a right one may be `within`."""
    doubles, sizes = (np.where(np.isfinite(some), some, 0).astype(np.float64).ravel() for some in (array, terms))
    rounding = ERROR * np.linalg.norm(sizes)  # sqrt(n) times their root mean square
    return {
        "shape": "x".join(map(str, array.shape)),
        "projections": [float(value) for value in _signs(doubles.size) @ doubles],
        "within": float(_HEAVIEST * (rounding + 2 * travel)),
    }


@cache
def _signs(size: int) -> np.ndarray:
    """The weights of an array's projections: of either sign, from 1/2 to 3/2."""
    draws = np.random.RandomState(size).uniform(-1, 1, (_PROJECTIONS, size))  # no release of NumPy changes these
    weights: np.ndarray = draws + np.sign(draws) / 2
    return weights
