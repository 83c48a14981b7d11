"""Names to laws, and laws of other packages."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from isoflop.lakehouse.errors import UnknownName, UsageError
from isoflop.queries.laws import LAWS, find_law, find_objective, known_laws, listed_laws
from isoflop.queries.laws import registry as registry_module


def test_laws_are_found_in_any_case() -> None:
    assert find_law("chinchilla") is find_law("Chinchilla") is LAWS["chinchilla"]


def test_an_unknown_law_comes_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName) as caught:
        find_law("chinchila")
    assert "law form 'chinchila' does not exist" in caught.value.message
    assert caught.value.hint is not None and caught.value.hint.startswith("did you mean 'chinchilla'?")


def test_an_unknown_objective_comes_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="objective 'huber' does not exist"):
        find_objective("huber")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that declares a law, as a folder on the path with its metadata."""
    (tmp_path / "their_laws.py").write_text(
        "from isoflop.queries.laws import Formula, Input, Law, amplitude, exponent\n"
        "OURS = Formula(name='their_law', law='A / n ^ a', inputs=(Input('n', 'count'),),\n"
        "               coefficients=(amplitude('A'), exponent('a')), source='them')\n"
        "NOT_A_LAW = 3\n"
        "class Alike:\n"
        "    name, inputs, coefficients = 'alike', OURS.inputs, OURS.coefficients\n"
        "    predict = OURS.predict\n"
        "ALIKE = Alike()\n"
        "class Unnamed(Law):\n"
        "    inputs, coefficients = OURS.inputs, OURS.coefficients\n"
        "    def predict(self, coefficients, inputs): return OURS.predict(coefficients, inputs)\n"
        "UNNAMED = Unnamed()\n"
    )
    info = tmp_path / "their_laws-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-laws\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isoflop.laws]\ntheirs = their_laws:OURS\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry_module._outside_laws.cache_clear()
    yield info
    registry_module._outside_laws.cache_clear()
    sys.modules.pop("their_laws", None)


def test_an_installed_package_adds_its_laws(outside: Path) -> None:
    assert find_law("their_law").source == "them"
    assert set(listed_laws()) == {*LAWS, "their_law"} and set(listed_laws()) < set(known_laws())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "NOT_A_LAW",
            "of group isoflop.laws has the type int, which is no law; .* inherits from Law",
        ),
        ("ALIKE", "of group isoflop.laws has the type Alike, which is no law; .* inherits from Law"),
        ("Alike", "has the type type, which is no law"),
        (
            "UNNAMED",
            "entry point 'wrong' of group isoflop.laws, of type Unnamed, has no name; .* name, inputs, coefficients",
        ),
    ],
)
def test_an_entry_point_that_is_no_law_is_refused_and_told_what_to_inherit(
    outside: Path, name: str, message: str
) -> None:
    (outside / "entry_points.txt").write_text(f"[isoflop.laws]\nwrong = their_laws:{name}\n")
    with pytest.raises(UsageError, match=message):
        known_laws()


def test_entry_points_belong_to_the_declared_group() -> None:
    assert EntryPoint("a", "b:c", registry_module.GROUP).group == "isoflop.laws"
