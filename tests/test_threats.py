"""The threat page says what is so: each test that it names is there, each default is the code's."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

import trio_bytesbuf
from trio_bytesbuf import buffered, io, mem, wire

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "threats.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| ---") and "| proved by |" not in line
]

PARAMETER = re.compile(r"`([\w.]+)\((\w+)(?:=([\w.]+))?\)`")
CONSTANT = re.compile(r"`([A-Z_]+) = ([\d_]+)`")
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def number_of(text: str) -> object:
    return ast.literal_eval(text)


@cache
def names_in(name: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / name).read_text())
    return {
        node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


@cache
def constants() -> dict[str, set[object]]:
    """Every constant of the library, by its name, with the values that it has."""
    found: dict[str, set[object]] = {}
    for module in pkgutil.walk_packages(trio_bytesbuf.__path__, "trio_bytesbuf."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if name.isupper() and isinstance(value, int):
                    found.setdefault(name, set()).add(value)
    return found


def named(dotted: str) -> object:
    first, *rest = dotted.split(".")
    thing = next(
        getattr(room, first)
        for room in (trio_bytesbuf, buffered, wire, mem, io)
        if hasattr(room, first)
    )
    for name in rest:
        thing = getattr(thing, name)
    return thing


def parameter_of(dotted: str, name: str) -> inspect.Parameter:
    thing = named(dotted)
    makers = [thing, *(thing.__mro__ if isinstance(thing, type) else ())]
    for maker in makers:
        function = vars(maker).get("__init__") if isinstance(maker, type) else maker
        if function is not None:
            parameters = inspect.signature(function).parameters
            if name in parameters:
                return parameters[name]
    raise AssertionError(f"{dotted} has no parameter {name}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_a_threat_is_stopped_as_the_page_says(row: list[str]) -> None:
    """It has a test that is there; what it says of defaults is what the code has."""
    _, _, default, proof = row
    named_tests = TEST.findall(proof)
    assert named_tests, "nothing proves it"
    for file, test in named_tests:
        assert test in names_in(file), f"{file} has no {test}"
    said = PARAMETER.findall(default)
    for dotted, name, value in said:
        expected = number_of(value) if value else inspect.Parameter.empty
        found = parameter_of(dotted, name).default
        assert found == expected, f"{dotted}({name}) is {found}"
    fixed = CONSTANT.findall(default)
    for name, value in fixed:
        assert number_of(value) in constants()[name], f"{name} is {constants()[name]}"
    assert said or fixed or default == "nothing to say"


def test_the_page_has_all_limits_of_what_is_received() -> None:
    """Each parameter of the library that limits what may come is named on the page."""
    limits = {"max_nbytes", "max_bytes", "max_bits", "max_depth", "max_empties"}
    limits |= {"max_datagram_nbytes", "max_datagrams", "rate", "claim_seconds"}
    assert limits <= {name for row in ROWS for _, name, _ in PARAMETER.findall(row[2])}
    exported = {
        name
        for room in (buffered, wire)
        for name in dir(room)
        if inspect.isclass(getattr(room, name))
        and "max_nbytes" in str(inspect.signature(getattr(room, name).__init__))
    }
    page_only_sends = {"MessageEncoder", "TypedSendChannel", "HalfCloseableBufStream"}
    missing = {name for name in exported - page_only_sends if f"`{name}(max_nbytes" not in PAGE}
    assert missing == set()
