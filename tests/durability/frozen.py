"""A folder that nobody can write."""

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Read-only as long as the block lasts: for root, whom permissions do not stop, a mount that is read-only."""
    with _mounted(folder) if os.geteuid() == 0 else _without_permission(folder):
        yield


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def _mount(*words: str) -> None:
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, timeout=30)
    except OSError as error:
        pytest.skip(f"cannot mount a folder: {error}")
    if done.returncode:
        pytest.skip(f"may not mount a folder: {done.stderr.strip()}")


@contextmanager
def _without_permission(folder: Path) -> Iterator[None]:
    places = [folder, *folder.rglob("*")]
    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in places}
    for place, mode in modes.items():
        place.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for place, mode in modes.items():
            place.chmod(mode)
