"""The layering, and that heavy packages are imported only where they are used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "lakehouse": set(),
    "workers": {"lakehouse"},
    "queries": {"lakehouse"},
    "cli": {"lakehouse", "workers", "queries"},
}
HEAVY = {
    *("ray", "torch", "duckdb", "pyarrow", "polars", "pandas", "sklearn", "scipy", "sympy", "numpy"),
    *("matplotlib", "textual", "prompt_toolkit", "yaml", "pydantic"),
}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder.replace(".", "/")).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every dotted module name that a file imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_dependencies_point_inwards(layer: str) -> None:
    for path in modules(layer):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("isoflop.")}
        assert used <= LAYERS[layer] | {layer}, f"{path.relative_to(ROOT)} imports {used - LAYERS[layer] - {layer}}"


def test_only_the_cluster_knows_ray() -> None:
    for layer in LAYERS:
        for path in modules(layer):
            uses_ray = any(name == "ray" or name.startswith("ray.") for name in imported(path))
            assert not uses_ray or path.is_relative_to(ROOT / "workers" / "cluster"), path.relative_to(ROOT)


def test_relative_names_are_never_imported() -> None:
    for layer in LAYERS:
        for path in modules(layer):
            assert not {name for name in imported(path) if name.split(".")[0] in LAYERS}, path.relative_to(ROOT)


def loaded_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_after("import isoflop.cli.main") & HEAVY


def test_opening_a_lake_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    loaded = loaded_after(f"import isoflop; isoflop.open({str(tmp_path / 'x.duckdb')!r}).sql('SELECT 1')")
    assert not loaded & {"ray", "torch", "sklearn", "sympy", "textual", "matplotlib"}


def names_of(layer: str) -> dict[str, Path]:
    """The modules of a layer by their dotted names; packages, which only pass names on, are left out."""
    return {
        ".".join(("isoflop", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in modules(layer)
        if path.name != "__init__.py"
    }


def test_models_stand_on_the_ground() -> None:
    for path in modules("lakehouse/models"):
        used = {name for name in imported(path) if name.startswith("isoflop")}
        assert all(name.startswith("isoflop.lakehouse.models") for name in used), path.relative_to(ROOT)


@pytest.mark.parametrize("layer", ["lakehouse", "cli", "queries", "workers"])
def test_no_modules_import_one_another_in_a_circle(layer: str) -> None:
    files = names_of(layer)
    reached = {name: imported(path) & files.keys() - {name} for name, path in files.items()}
    for name in files:  # a module that can be reached from itself is part of a circle
        seen: set[str] = set()
        waiting = list(reached[name])
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                waiting += reached[each]
        assert name not in seen, f"{name} is imported by what it imports"


def test_a_verb_imports_no_other_verb() -> None:
    language = ROOT / "queries" / "language"
    for folder in ("verbs", "plans"):  # what a verb is, and what it does; what verbs share lies under them
        for path in (language / folder).glob("*.py"):
            others = {name for name in imported(path) if name.startswith(f"isoflop.queries.language.{folder}.")}
            assert path.name == "__init__.py" or not others, f"{path.relative_to(ROOT)} imports {others}"
    for path in language.rglob("*.py"):
        if path.parent.name not in ("verbs", "plans") and path.name != "execute.py":
            above = {name for name in imported(path) if re.match(r"isoflop\.queries\.language\.(verbs|plans)\b", name)}
            assert not above, f"{path.relative_to(ROOT)} imports {above}"
