"""Answers with something wrong in them, as text, since that is what arrives; drawn by hypothesis."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[Any, ...]
ODD: list[Any] = [
    None, "", "x", "1", "NaN", True, False, {}, [], [1], {"a": 1}, -1, 0, 1, 0.5, math.nan, math.inf, -math.inf, 1e308, -1e308,
    1e-320, 10**40, -(10**40), 2**31, 2**63, 1_700_000_000, 1_700_000_000_000, "2024-13-01", "2024-01-02", "<html>", "\u0661", "\0",
]  # fmt: skip
PAGES = [
    "",
    " ",
    "null",
    "3",
    '"x"',
    "[]",
    "{}",
    "[[]]",
    "<html><h1>502</h1></html>",
    "Too Many Requests",
    "\ufeff{}",
    "\0",
    "NaN",
]
DEEP = 100_000


def names(refused: Exception, *wanted: str) -> None:
    "A refusal says who and what it is about."
    missing = [word for word in wanted if word not in str(refused)]
    assert not missing, f"{type(refused).__name__} does not name {missing}: {refused}"


def places(tree: Any, path: Path = ()) -> Iterator[Path]:
    "Where something stands in a tree, the root included."
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def at(tree: Any, path: Path) -> Any:
    "What stands there."
    for key in path:
        tree = tree[key]
    return tree


@st.composite
def faulty(draw: st.DrawFn, tree: Any, about: tuple[str, ...] = (), most: int = 3) -> Any:
    "A copy of `tree` with up to `most` faults, most of them below a key of `about`."
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, most))):
        known = list(places(tree))
        near = [path for path in known if set(path) & set(about)]
        if near and draw(st.integers(0, 3)):
            known = near
        _spoil(draw, tree, draw(st.sampled_from(known)))
        if not isinstance(tree, dict | list):
            break
    return tree


def _spoil(draw: st.DrawFn, tree: Any, path: Path) -> None:
    "One fault at a place."
    here = at(tree, path)
    if isinstance(here, list) and len(here) > 1 and draw(st.booleans()):
        one, two = draw(st.integers(0, len(here) - 1)), draw(st.integers(0, len(here) - 1))
        kind = draw(st.sampled_from(["swap", "twice", "short", "copy", "turned"]))
        if kind == "swap":
            here[one], here[two] = here[two], here[one]
        elif kind == "twice":
            here.insert(one, copy.deepcopy(here[two]))
        elif kind == "short":
            del here[one]
        elif kind == "copy":
            here[one] = copy.deepcopy(here[two])
        else:
            here.reverse()
        return
    if not path:
        return
    above, key = at(tree, path[:-1]), path[-1]
    number = isinstance(here, int | float) and not isinstance(here, bool)
    kind = draw(st.sampled_from(["drop", "odd", "odd", "moved", "moved"] if number else ["drop", "odd"]))
    if kind == "drop":
        del above[key]
    elif kind == "odd":
        above[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    else:
        change = draw(st.sampled_from([1, -1, 60, 3600, 86_400, -86_400, 259_200, 86_400_000, 0.25, 10**9]))
        above[key] = -here if draw(st.integers(0, 5)) == 0 else here + change


@st.composite
def spoiled(draw: st.DrawFn, tree: Any, about: tuple[str, ...] = (), most: int = 3) -> str:
    "The text of `tree` with faults; sometimes one that breaks the text."
    text = json.dumps(draw(faulty(tree, about, most)))
    kind = draw(st.integers(0, 24))
    if kind == 0:
        return draw(st.sampled_from(PAGES))
    if kind == 1:
        return text[: draw(st.integers(0, len(text)))]
    if kind == 2:
        place = draw(st.integers(0, len(text)))
        return (
            text[:place]
            + draw(st.sampled_from(["NaN", "Infinity", ",", "}", "]", '"', "\\", "1e999", "\x00", "é"]))
            + text[place:]
        )
    if kind == 3:
        return "[" * DEEP if draw(st.booleans()) else text[:-1] + ', "deep": ' + "[" * DEEP + "]" * DEEP + "}"
    return text
