"""Canonical JSON and digests: the same value gives the same bytes, on any machine."""

import hashlib
import json
from pathlib import Path
from typing import Any

Json = Any
"""A value made of dict (string keys), list, str, int, float, bool and None."""
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""Made once: `json.dumps` makes an encoder at every call, which takes longer than what it then encodes."""


def canonical(value: Json) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces. Refuses NaN and infinities, which JSON does not have."""
    return _encode(value).encode()


def digest(value: Json) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
