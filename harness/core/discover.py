"""Plug-ins by file: a room's registry is the modules in its folder that export a given name."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any


@cache
def discover(package: str, attribute: str) -> Mapping[str, Any]:
    """`attribute` of every module in `package` that has one, by its `.name`. One new file is one new entry."""
    room = importlib.import_module(package)
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(room.__path__):
        if info.name.startswith("_") or (info.ispkg and package == "harness"):
            continue
        entry = getattr(importlib.import_module(f"{package}.{info.name}"), attribute, None)
        if entry is not None:
            found[entry.name] = entry
    return MappingProxyType(dict(sorted(found.items())))
