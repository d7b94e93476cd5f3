"""Registries: the modules of a room's folder that export a given name, and what plug-ins add to them."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from harness.core.errors import HarnessError
from harness.core.plugins import Plugin, plugins

T = TypeVar("T")


def discover(package: str, attribute: str, kind: type[T]) -> Mapping[str, T]:
    """`attribute`, a `kind`, of every module in `package` and of every plug-in that has one, by its `.name`.

    Raises:
        HarnessError: two entries have one name, or a plug-in's is of another kind or cannot be loaded.
    """
    return extended(in_tree(package, attribute), attribute, kind)


def extended(ours: Mapping[str, T], attribute: str, kind: type[T]) -> Mapping[str, T]:
    """Entries of ours and those of plug-ins, by name."""
    theirs = plugins(attribute)
    return _merged(ours, theirs, attribute, kind) if theirs else ours


def used(attribute: str, names: Iterable[str]) -> dict[str, Plugin]:
    """Those of the entries that plug-ins bring, each by `attribute name`."""
    theirs = {plugin.entry.name: plugin for plugin in plugins(attribute)}
    return {f"{attribute} {name}": theirs[name] for name in names if name in theirs}


def _merged(ours: Mapping[str, T], theirs: Iterable[Plugin], attribute: str, kind: type[T]) -> Mapping[str, T]:
    entries, places = dict(ours), dict.fromkeys(ours, "the harness")
    for plugin in theirs:
        entry = plugin.entry
        if not isinstance(entry, kind):
            what = f"its {attribute} is no {kind.__name__} but a {type(entry).__name__}"
            raise HarnessError(what, where=plugin.where, fix="See docs/extensions.md.")
        name: str = entry.name  # type: ignore[attr-defined]
        if name in entries:
            what = f"its {attribute} is called '{name}', and so is one of {places[name]}"
            raise HarnessError(what, where=plugin.where, fix="Give it another name.")
        entries[name], places[name] = entry, plugin.where
    return MappingProxyType(dict(sorted(entries.items())))


@cache
def in_tree(package: str, attribute: str) -> Mapping[str, Any]:
    """`attribute` of every module in `package` that has one, by its `.name`. One new file is one new entry.

    Raises:
        HarnessError: two entries have one name.
    """
    room = importlib.import_module(package)
    entries: dict[str, Any] = {}
    for info in pkgutil.iter_modules(room.__path__):
        if info.name.startswith("_"):
            continue
        entry = getattr(importlib.import_module(f"{package}.{info.name}"), attribute, None)
        if entry is None:
            continue
        if entries.setdefault(entry.name, entry) is not entry:
            raise HarnessError(
                f"{info.name}.py exports a {attribute} named '{entry.name}', and another file does too",
                where=package,
                fix="Give one of them another name.",
            )
    return MappingProxyType(dict(sorted(entries.items())))
