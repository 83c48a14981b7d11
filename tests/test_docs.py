"""Every command in the README runs, and prints what the README says."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()

# Commands that stand in ```sh blocks, and where each is run for real.
RUN_ELSEWHERE = {
    "make demo": ".ci/run",
    "make test": "tests/test_docs.py",  # this very run
    "make check": ".ci/run",
    "make bench": "tests/bench/__main__.py",
}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def transcripts() -> list[tuple[str, str]]:
    """Every command of the console blocks with the output the README gives it."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.mark.slow
@pytest.mark.cluster
def test_the_console_sessions_print_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(blocks("yaml")[0])
    environment = {**os.environ, "COLUMNS": "200", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("ISOFLOP_LAKE", None)
    compare = doctest.OutputChecker()
    for command, expected in transcripts():
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        wanted = expected.replace("…", "...")
        assert compare.check_output(wanted, done.stdout, OPTIONS), f"{command}\n{done.stdout}\nexpected\n{expected}"


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout == "converged\n", done.stderr


def test_the_page_on_python_runs_and_has_the_tree_of_errors(tmp_path: Path) -> None:
    import isoflop
    from isoflop.lakehouse import Answer, errors

    page = (ROOT / "docs" / "python.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    printed = ("7000000000.0\n", "1.773\n", "AdaptiveKernelRegressor True\nNNGPRegressor True\n")
    for example, said in zip(examples, printed, strict=True):
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.stdout == said, done.stderr
    assert (tmp_path / "paper.svg").read_text().count("<path") > 5
    (tree,) = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
    assert tree.strip() in str(errors.__doc__)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, isoflop.IsoflopError) for kind in kinds)
    assert {kind.__name__ for kind in kinds} - {"FileError"} == set(re.findall(r"\w+Error|\w+(?=  )", tree)) & {
        kind.__name__ for kind in kinds
    }
    for method in re.findall(r"`answer\.(\w+)", page):
        assert hasattr(Answer, method) or method in Answer.__dataclass_fields__, method


def test_every_shell_command_is_run_somewhere() -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert set(commands) == set(RUN_ELSEWHERE)
    for command, place in RUN_ELSEWHERE.items():
        assert (ROOT / place).exists()
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)


def test_every_law_is_in_the_readme_and_every_family_on_its_page() -> None:
    from isoflop.queries.laws import LAWS
    from isoflop.workers.families import FAMILIES

    for name in LAWS:
        assert f"`{name}" in README, name
    page = (ROOT / "docs" / "families.md").read_text()
    for name in FAMILIES:
        assert f"## `{name}`" in page, name


def test_every_command_has_help_that_says_what_it_does() -> None:
    import typer.main

    from isoflop.cli.main import app

    group = typer.main.get_command(app)
    names = list(group.commands)  # type: ignore[attr-defined]
    assert {"demo", "sweep", "submit", "status", "logs", "sql", "shell", "fit", "extrapolate", "laws", "runs"} <= set(
        names
    )
    assert {"tui", "plot", "import", "lake"} <= set(names)
    for name in names:
        command = group.commands[name]  # type: ignore[attr-defined]
        assert len(command.help or "") > 20, name
        for parameter in command.params:
            assert parameter.name == "help" or getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_the_picture_is_made_by_the_plot_command() -> None:
    picture = (ROOT / "docs" / "chinchilla.svg").read_text()
    assert picture.startswith("<?xml") and "chin" in README


@pytest.mark.slow
@pytest.mark.cluster
def test_the_page_on_scripts_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "your_script.md").read_text()
    script, logging, saving = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (sweep,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    (session,) = re.findall(r"^```console\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "mine.yaml").write_text(sweep)
    environment = {**os.environ, "COLUMNS": "200", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("ISOFLOP_LAKE", None)
    for part in re.split(r"^\$ ", session, flags=re.M)[1:]:
        command, _, expected = part.partition("\n")
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert doctest.OutputChecker().check_output(expected, done.stdout, OPTIONS), f"{command}\n{done.stdout}"
    for example in (logging, saving):
        given = {**environment, "ISOFLOP_OUTPUT": str(tmp_path), "ISOFLOP_LAKE": str(tmp_path / "own.duckdb")}
        done = subprocess.run([sys.executable, "-c", example], env=given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
