"""What a caller may ask of a law is defined on `Law`: nobody looks for attributes by name or asks for the class."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from isoflop.queries.laws import LAWS, Law

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lakehouse", "workers", "queries", "cli", "docs", "tests")
ABOUT_A_LAW = re.compile(r"\blaws?\b|\bsurrogate\b|\bLAWS\b")


def kinds(kind: type) -> set[str]:
    """The names of every class below one."""
    return {kind.__name__ for kind in kind.__subclasses__()} | {
        name for below in kind.__subclasses__() for name in kinds(below)
    }


ASKED = {name for name in dir(Law) if not name.startswith("_")} | {"derived", "expression", "fitted_as"}
KINDS = {type(law).__name__ for law in LAWS.values()}


def probes(source: str) -> list[str]:
    """Calls in a source that ask an object what kind of law it is, or whether it has what a law has."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        text = ast.unparse(node)
        if node.func.id in {"getattr", "hasattr"} and len(node.args) > 1:
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
            if name in ASKED - {"name"} or ABOUT_A_LAW.search(ast.unparse(node.args[0])):
                found.append(text)
        if node.func.id in {"isinstance", "issubclass"} and KINDS & {
            name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)
        }:
            found.append(text)
    comments = re.findall(r"^.*\blaw\b.*type: ignore\[attr-defined\].*$", source, re.MULTILINE)
    return [*found, *(line.strip() for line in comments)]


@pytest.mark.parametrize(
    "source",
    [
        "getattr(law, 'whatever', None)",
        "hasattr(model, 'is_costly')",
        "getattr(record.law, name)",
        "isinstance(law, Formula)",
        "isinstance(law, str | BoundedPower)",
        "law.latex()  # type: ignore" + "[attr-defined]",
    ],
)
def test_a_probe_is_found(source: str) -> None:
    assert probes(source)


def test_no_code_probes_a_law() -> None:
    found = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path != Path(__file__) and (asked := probes(path.read_text())):
                found[str(path.relative_to(ROOT))] = asked
    assert found == {}


def test_every_law_inherits() -> None:
    assert all(isinstance(law, Law) for law in LAWS.values())
    assert KINDS <= kinds(Law)
