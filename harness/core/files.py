"""Folders of large files, shared where the file system can."""

import os
import shutil
from pathlib import Path


def link_tree(source: Path, out: Path) -> None:
    """Make `out` a folder with the files of `source`, as hard links; as copies on another file system."""
    shutil.copytree(source, out, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
