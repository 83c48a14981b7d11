"""The wheel, the editable install, and the import name in a folder full of traps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as a release builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_one_package_with_everything_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"isoflop"}
    tracked = subprocess.run(
        ["git", "ls-files", "lakehouse", "workers", "queries", "cli"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    missing = {f"isoflop/{name}" for name in tracked} - names
    assert tracked and not missing
    assert {"isoflop/__init__.py", "isoflop/__main__.py", "isoflop/py.typed"} <= names


def test_an_installed_wheel_runs_in_a_folder_with_its_own_workers(wheel: Path, tmp_path: Path) -> None:
    target, here = tmp_path / "site", tmp_path / "here"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    for trap in ("workers", "lakehouse", "queries", "cli"):
        (here / trap).mkdir(parents=True)
        (here / trap / "__init__.py").write_text("raise ImportError('the wrong package')")
    environment = {**os.environ, "PYTHONPATH": str(target), "ISOFLOP_LAKE": str(tmp_path / "x.duckdb")}
    done = subprocess.run(
        [sys.executable, "-m", "isoflop", "sql", "SELECT 1 AS one", "--json"],
        cwd=here, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [{"one": 1}], done.stderr
    where = subprocess.run(
        [sys.executable, "-c", "import isoflop.workers; print(isoflop.workers.__file__)"],
        cwd=here, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(target))


def test_the_editable_install_follows_the_links() -> None:
    about = distribution("isoflop").read_text("direct_url.json")
    if about is None or not json.loads(about).get("dir_info", {}).get("editable"):
        pytest.skip("isoflop is installed as a wheel here")
    import isoflop.lakehouse

    assert Path(isoflop.lakehouse.__file__).resolve() == ROOT / "lakehouse" / "__init__.py"


def test_the_module_is_the_command() -> None:
    run = [
        subprocess.run([*start, "--version"], capture_output=True, text=True)
        for start in ([sys.executable, "-m", "isoflop"], [str(Path(sys.executable).with_name("isoflop"))])
    ]
    assert run[0].stdout == run[1].stdout and run[0].stdout.startswith("isoflop ")
