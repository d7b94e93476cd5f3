"""Changes of meaning that are planted in a finished artifact's files: what a golden test must find."""

import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.core.lines import read_lines
from tests.stages.fingerprint import PASSING

MUCH = 0.05
"""By how much of itself a measured number is changed; a weight, which training moves, is doubled."""

MOST = 6
"""Of a mapping with more names (a config, a vocabulary) the first are changed, of a model's arrays every third."""

Planted = Iterator[tuple[str, bytes]]


def planted(path: Path) -> Planted:
    """What was changed, and the file's bytes with it."""
    if path.suffix == ".safetensors":
        return _weights(path)
    if path.suffix == ".parquet":
        return _table(pd.read_parquet(path))
    if path.suffix == ".npy":
        return _array(np.load(path))
    if path.suffix == ".jsonl":
        return _lines(list(read_lines(path)))
    if path.suffix == ".json":
        return _json(json.loads(path.read_text()))
    return iter([("a letter more", path.read_bytes() + b"x")])


def _weights(path: Path) -> Planted:
    from safetensors.numpy import load_file, save

    tensors = load_file(path)
    for name, tensor in list(tensors.items())[::3]:
        yield f"{name}: a weight doubled", save(tensors | {name: _largest(tensor, 2.0)})
        if tensor.ndim > 1 and len(tensor) > 1:  # norms are all 1, but for less than rounding may move a weight
            swapped = tensor.copy()
            swapped[[0, 1]] = tensor[[1, 0]]
            yield f"{name}: two rows swapped", save(tensors | {name: swapped})
    name, tensor = next(iter(tensors.items()))
    yield f"{name}: a sign", save(tensors | {name: _largest(tensor, -1.0)})
    yield f"{name}: turned round", save(tensors | {name: np.ascontiguousarray(tensor[::-1])})
    yield f"{name}: renamed", save({"x" if k == name else k: v for k, v in tensors.items()})
    yield f"{name}: gone", save({k: v for k, v in tensors.items() if k != name})


def _largest(array: np.ndarray, factor: float) -> np.ndarray:
    """The array with its largest value times `factor`; of one of nothing but zeros one is now 1."""
    out = np.array(array)
    at = int(np.abs(out).argmax())
    out.flat[at] = out.flat[at] * factor or 1
    return out


def _array(array: np.ndarray) -> Planted:
    def saved(value: np.ndarray) -> bytes:
        out = io.BytesIO()
        np.save(out, value)
        return out.getvalue()

    if array.dtype.names:
        for name in array.dtype.names:
            changed = array.copy()
            changed[name][0] = _other(array[name][0].item())
            yield f"{name}: a value", saved(changed)
    elif np.issubdtype(array.dtype, np.floating):
        yield "a value", saved(_largest(array, 1 + MUCH))
        yield "another precision", saved(array.astype(np.float16))
    else:
        yield "a number", saved(array + (np.arange(array.size).reshape(array.shape) == 0).astype(array.dtype))
    if len(np.unique(array, axis=0)) > 1:
        yield "turned round", saved(array[::-1])
    yield "a row less", saved(array[:-1])


def _table(frame: pd.DataFrame) -> Planted:
    def saved(now: pd.DataFrame) -> bytes:
        out = io.BytesIO()
        now.to_parquet(out, index=False)
        return out.getvalue()

    for name in map(str, frame):
        column = list(frame[name])
        yield (
            f"{name}: a value",
            saved(frame.assign(**{name: pd.Series(_one_changed(column), dtype=frame[name].dtype)})),
        )
        yield f"{name}: gone", saved(frame.drop(columns=[name]))
        if pd.api.types.is_float_dtype(frame[name]):
            yield (
                f"{name}: no value",
                saved(frame.assign(**{name: pd.Series([None, *column[1:]], dtype=frame[name].dtype)})),
            )
    yield "a column more", saved(frame.assign(more=1))
    yield "a row less", saved(frame[:-1])
    yield "turned round", saved(frame[::-1])


def _one_changed(column: list[Any]) -> list[Any]:
    """The column with its largest number, or its first text, as another."""
    numbers = [k for k, value in enumerate(column) if not isinstance(value, str) and not pd.isna(value)]
    at = max(numbers, key=lambda k: abs(column[k])) if numbers else 0
    value = column[at]
    plain = value.item() if isinstance(value, np.generic) else value
    return [*column[:at], _other(plain), *column[at + 1 :]]


def _lines(rows: list[Any]) -> Planted:
    def saved(now: list[Any]) -> bytes:
        return "".join(json.dumps(row) + "\n" for row in now).encode()

    for what, now in _changed(rows):
        yield what, saved(now)
    yield "a row more", saved([*rows, {"id": "x"}])
    if rows[1:]:
        yield "turned round", saved(rows[::-1])


def _json(value: Any) -> Planted:
    for what, now in _changed(value):
        yield what, json.dumps(now).encode()


def _changed(value: Any) -> Iterator[tuple[str, Any]]:
    """One value of each name (of all rows the first) is another, and is gone."""
    for path in _leaves(value):
        for what in ("a value", "gone"):
            now = copy.deepcopy(value)
            parent = now
            for part in path[:-1]:
                parent = parent[part]
            if what == "gone":
                del parent[path[-1]]
            else:
                parent[path[-1]] = _other(parent[path[-1]])
            yield f"{'/'.join(map(str, path))}: {what}", now


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, item in list(value.items())[:MOST]:
            if name not in PASSING:
                yield from _leaves(item, (*path, name))
    elif isinstance(value, list) and value:
        yield from _leaves(value[0], (*path, 0))
    elif path:
        yield path


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case float():
            return value * (1 + MUCH) or 1.0
        case int():
            return value + 1
        case str():
            return f"{value}x"
    return "x"
