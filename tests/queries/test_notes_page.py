"""Every kind of note has an entry in docs/notes.md that says what it means and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from isoflop.queries.language.together import APART

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "notes.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^\| `(\w+)` \| (.*) \| (.*) \|$", re.M)
SAID_ELSEWHERE = {"not_known", "intervals_hold"}  # in front of a sentence on a forecast; in laws of earlier versions


def texts(node: ast.AST) -> set[str]:
    """The whole texts in an expression; those a pattern is filled with where it is one."""
    if isinstance(node, ast.JoinedStr):
        return {f"several_{plural.replace(' ', '_')}" for plural in APART.values()}
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def assigned(tree: ast.AST, name: str) -> set[str]:
    """The texts that a module gives to a variable, alone or beside others."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == name:
                found |= texts(node.value)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
                found |= {text for each, value in pairs if getattr(each, "id", "") == name for text in texts(value)}
            elif isinstance(target, ast.Tuple) and name in {getattr(each, "id", "") for each in target.elts}:
                raise AssertionError(f"the kinds of {ast.unparse(node)} cannot be read")
    return found


def kinds() -> Iterator[tuple[str, set[str]]]:
    """Every place that makes a note, with the kinds it may have."""
    for path in sorted((ROOT / "queries").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Note":
                first = node.args[0]
                yield f"{path}:{node.lineno}", assigned(tree, first.id) if isinstance(first, ast.Name) else texts(first)


def test_every_kind_of_note_has_an_entry_and_every_entry_is_a_kind() -> None:
    made = list(kinds())
    assert len(made) > 40 and all(found for _, found in made), [place for place, found in made if not found]
    every = set().union(*(found for _, found in made)) | SAID_ELSEWHERE
    entries = [kind for kind, _, _ in ENTRY.findall(PAGE)]
    assert len(entries) == len(set(entries))
    assert every == set(entries), every ^ set(entries)


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    for kind, meaning, todo in ENTRY.findall(PAGE):
        assert len(meaning.split()) > 4 and todo.strip(), kind
