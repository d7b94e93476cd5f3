"""A token table on disk: `responses.parquet`, and a NumPy array per pass (float32 or int32)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.teachers.api import RESPONSE_COLUMNS, TokenTable

_DTYPES: dict[str, type[np.generic]] = {
    "logprobs": np.float32,
    "ranks": np.int32,
    "alone": np.float32,
    "local": np.float32,
    "steps": np.int32,
}


def save(table: TokenTable, folder: Path) -> None:
    """Write a token table into `folder`, which is created; a pass that was not run has no file."""
    folder.mkdir(parents=True, exist_ok=True)
    table.responses[list(RESPONSE_COLUMNS)].to_parquet(folder / "responses.parquet", index=False)
    for name, dtype in _DTYPES.items():
        values = getattr(table, name)
        if values is not None:
            np.save(folder / f"{name}.npy", values.astype(dtype), allow_pickle=False)


def load(folder: Path) -> TokenTable:
    """Read a table that `save` wrote.

    Raises:
        HarnessError: a file is missing or broken, or an array does not have the responses' number of tokens.
    """
    responses = _responses(folder / "responses.parquet")
    total = int(responses["tokens"].sum())
    arrays: dict[str, Any] = {name: _array(folder, name, total) for name in _DTYPES}
    if arrays["logprobs"] is None:
        raise HarnessError("no such file", where=str(folder / "logprobs.npy"), fix="Score this teacher again.")
    return TokenTable(responses, **arrays)


def _responses(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise HarnessError("no such file", where=str(path), fix="Score this teacher again.") from None
    except (OSError, ValueError) as error:
        raise HarnessError(f"not a Parquet file ({error})", where=str(path)) from None
    missing = [c for c in RESPONSE_COLUMNS if c not in frame]
    if missing:
        raise HarnessError(f"no column {', '.join(missing)}", where=str(path))
    if ((frame["status"] == "ok") != (frame["tokens"] > 0)).any():
        raise HarnessError("a response has scored tokens exactly when its status is ok", where=str(path))
    return frame


def _array(folder: Path, name: str, total: int) -> NDArray[np.generic] | None:
    path = folder / f"{name}.npy"
    if not path.exists():
        return None
    try:
        values: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"not a NumPy array ({error})", where=str(path)) from None
    if values.shape != (total,):
        raise HarnessError(f"shape {values.shape}, but the responses have {total} tokens", where=str(path))
    return values.astype(np.float64 if np.issubdtype(_DTYPES[name], np.floating) else np.int64)
