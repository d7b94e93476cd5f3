"""Plug-ins by file: a room's registry is the modules in its folder that export a given name."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from harness.core.errors import HarnessError


@cache
def discover(package: str, attribute: str) -> Mapping[str, Any]:
    """`attribute` of every module in `package` that has one, by its `.name`. One new file is one new entry.

    Raises:
        HarnessError: two entries have one name.
    """
    room = importlib.import_module(package)
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(room.__path__):
        if info.name.startswith("_") or (info.ispkg and package == "harness"):
            continue
        entry = getattr(importlib.import_module(f"{package}.{info.name}"), attribute, None)
        if entry is None:
            continue
        if found.setdefault(entry.name, entry) is not entry:
            raise HarnessError(
                f"{info.name}.py exports a {attribute} named '{entry.name}', and another file does too",
                where=package,
                fix="Give one of them another name.",
            )
    return MappingProxyType(dict(sorted(found.items())))
