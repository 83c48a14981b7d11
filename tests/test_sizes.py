"""Modules stay short enough to be read at once, and functions take no more than can be kept in mind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("lakehouse", "workers", "queries", "cli")
MOST_LINES = 400
MOST_PARAMETERS = 8

# Functions that take more, each parameter a command's option, a count of an architecture, or a choice of a search.
WIDE = {
    *("cli/crossval.py:crossval", "cli/optimize.py:optimize", "cli/extrapolate.py:extrapolate"),
    *("cli/compare.py:compare", "cli/design.py:design", "cli/fit.py:fit", "cli/fit.py:fit_statement"),
    *("cli/import_.py:import_", "cli/optimum.py:optimum", "cli/plot/command.py:plot", "cli/submit.py:submit"),
    *("cli/sweep.py:sweep", "cli/coordcheck.py:coordcheck", "cli/lake.py:gc"),
    "lakehouse/models/counts.py:transformer_counts",
    *("queries/planning/isoflop.py:compare_approaches", "queries/planning/plan.py:plan_runs"),
}


def modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def wide_functions(path: Path) -> Iterator[str]:
    """The functions of a module with too many parameters, `self` and `cls` not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            if len(names) - (names[:1] in (["self"], ["cls"])) > MOST_PARAMETERS:
                yield f"{path.relative_to(ROOT)}:{node.name}"


@pytest.mark.parametrize("layer", LAYERS)
def test_no_module_is_long(layer: str) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules(layer)}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


@pytest.mark.parametrize("layer", LAYERS)
def test_no_other_function_takes_many_parameters(layer: str) -> None:
    found = {name for path in modules(layer) for name in wide_functions(path)}
    assert found == {name for name in WIDE if name.startswith(f"{layer}/")}
