"""What can be wrong with a file: its bytes, or the values that are in it."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from harness.core.errors import HarnessError

Json = Any

strange: st.SearchStrategy[Json] = st.sampled_from(
    [
        *("", "..", "../x", "/etc/passwd", "a/b", "\0", "\x1b[2J", "\ud800", "\u202e", "\ufeff", "x" * 5000),
        *(-1, 0, 1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1e308, -0.0, True, None, [], {}, [[]], {"": None}),
        *(float("nan"), float("inf"), -float("inf")),
    ]
).map(copy.deepcopy)  # the lists would be the same ones in each example, and a change to one would be in all
"""Values that are there for a reason."""
values: st.SearchStrategy[Json] = st.recursive(
    strange | st.integers() | st.floats() | st.text(max_size=8) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(value: Json, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value, the whole of it left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for name, item in items for p in ((*key, name), *paths(item, (*key, name)))]


@st.composite
def changed(draw: st.DrawFn, value: Json, strategy: st.SearchStrategy[Json] = values, most: int = 3) -> Json:
    """The value with parts of it replaced, removed, doubled, renamed or wrapped."""
    out = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        there = paths(out)
        if not there:
            return draw(strategy)
        *way, last = draw(st.sampled_from(there))
        parent = out
        for part in way:
            parent = parent[part]
        match draw(st.sampled_from(["replace", "replace", "remove", "double", "wrap", "swap", "rename"])):
            case "replace":
                parent[last] = draw(strategy)
            case "remove":
                del parent[last]
            case "double" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
            case "wrap":
                parent[last] = [parent[last]] if draw(st.booleans()) else {"x": parent[last]}
            case "swap":
                *other_way, other = draw(st.sampled_from(there))
                other_value = value
                try:
                    for part in (*other_way, other):
                        other_value = other_value[part]
                except (KeyError, IndexError, TypeError):
                    continue  # an earlier change made this place
                parent[last] = copy.deepcopy(other_value)
            case "rename" if isinstance(parent, dict):
                others = list(parent)
                parent[draw(st.text(max_size=4) | st.sampled_from(others))] = parent.pop(last)
    return out


@st.composite
def broken(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with some of them cut off, flipped, repeated, or others put between."""
    out = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(out)))
        match draw(st.sampled_from(["cut", "drop", "flip", "flip", "put", "repeat"])):
            case "cut":
                del out[at:]
            case "drop":
                del out[at : at + draw(st.integers(1, 64))]
            case "flip" if at < len(out):
                out[at] ^= 1 << draw(st.integers(0, 7))
            case "put":
                out[at:at] = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xef\xbb\xbf", b"\0", b"\n"]))
            case "repeat":
                out[at:at] = out[at : at + 64]
    return bytes(out)


def answer(call: Callable[[], Any], *names: str) -> Any:
    """What the call gives; None where it refuses with a HarnessError that holds one of `names`. Nothing else passes."""
    try:
        return call()
    except HarnessError as error:
        text = str(error)
        assert any(name in text for name in names), f"no {names} in: {text}"
        assert "Traceback" not in text
        assert len(text) < 20_000, f"a message of {len(text)} characters"
        assert len(text.splitlines()) <= 3, f"not one message: {text}"
        return None
