"""Weights written to safetensors a layer at a time, so that no process holds a shared model whole."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from harness.core.lines import write_json
from harness.models.shares import whole

State: TypeAlias = Mapping[str, Tensor]

FILE_BYTES = 50 * 10**9
"""A larger model becomes several files with an index; transformers has the same limit."""
_ITEM = 4  # bytes of a float32
_CHUNK = 1 << 20
"""Numbers of each model that are averaged at once."""

Shapes = Sequence[tuple[str, list[int]]]


def write_weights(state: State, convert: Callable[[State], State], out: Path, *, writes: bool = True) -> None:
    """Write a model's weights in float32, each layer after `convert` has made of it what files hold.

    Every process that holds a share calls this at the same time, because each layer is gathered in all of them; the
    process with `writes` writes the files. More than a layer is never held.
    """
    layers = _layers(state)
    shapes = [(name, list(weight.shape)) for layer in layers for name, weight in convert(_empty(layer)).items()]
    files, weights = _files(shapes), _gathered(layers, convert)
    for name, held in files.items():
        if writes:
            with (out / name).open("wb") as file:
                file.write(_header(held))
                for _, weight in zip(held, weights, strict=False):
                    file.write(_bytes(weight))
        else:
            for _ in zip(held, weights, strict=False):
                pass
    if writes and len(files) > 1:
        size = sum(map(_size, shapes))
        where = {weight: name for name, held in files.items() for weight, _ in held}
        index = {"metadata": {"total_parameters": size // _ITEM, "total_size": size}, "weight_map": where}
        write_json(out / "model.safetensors.index.json", index, indent=2)


def write_mean(folders: Sequence[Path], out: Path) -> None:
    """Write the model whose weights are the mean of those in `folders`, computed in float64; the rest is the last's.

    All were written by `write_weights` for one architecture, so that their files have the same layout. A part of one
    weight's file is held at a time.
    """
    shutil.copytree(folders[-1], out, ignore=shutil.ignore_patterns("*.safetensors"))
    for name in sorted(file.name for file in folders[-1].glob("*.safetensors")):
        headers = [_read_header(folder / name) for folder in folders]
        assert len(set(headers)) == 1, "models of one training have the same weights"
        start = len(headers[0])
        parts = [np.memmap(folder / name, np.float32, "r", offset=start) for folder in folders]
        with (out / name).open("wb") as file:
            file.write(headers[0])
            for at in range(0, len(parts[0]), _CHUNK):
                mean = np.mean([part[at : at + _CHUNK] for part in parts], axis=0, dtype=np.float64)
                file.write(mean.astype(np.float32).data)


def _layers(state: State) -> list[State]:
    """The weights of each layer, and each weight outside of layers alone."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, weight in state.items():
        layer = re.match(r".*?\.\d+\.", name)
        layers.setdefault(layer[0] if layer else name, {})[name] = weight
    return list(layers.values())


def _empty(layer: State) -> State:
    return {name: torch.empty(weight.shape, device="meta") for name, weight in layer.items()}


def _gathered(layers: Sequence[State], convert: Callable[[State], State]) -> Iterator[Tensor]:
    for layer in layers:
        yield from convert({name: whole(weight.detach()) for name, weight in layer.items()}).values()


def _files(shapes: Shapes) -> dict[str, Shapes]:
    """The weights of each file by its name."""
    files: list[list[tuple[str, list[int]]]] = [[]]
    room = FILE_BYTES
    for weight in shapes:
        if files[-1] and _size(weight) > room:
            files.append([])
            room = FILE_BYTES
        files[-1].append(weight)
        room -= _size(weight)
    if len(files) == 1:
        return {"model.safetensors": files[0]}
    return {f"model-{number:05}-of-{len(files):05}.safetensors": held for number, held in enumerate(files, 1)}


def _size(weight: tuple[str, list[int]]) -> int:
    return int(np.prod(weight[1], dtype=np.int64)) * _ITEM


def _header(held: Shapes) -> bytes:
    """The start of a safetensors file: the length of a JSON object (8 bytes), and this object, padded with spaces."""
    described: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in held:
        begin, end = end, end + _size((name, shape))
        described[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _read_header(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.read(8)
        return size + file.read(int.from_bytes(size, "little"))


def _bytes(weight: Tensor) -> memoryview:
    array: memoryview = weight.to("cpu", torch.float32).contiguous().numpy().reshape(-1).view(np.uint8).data
    return array
