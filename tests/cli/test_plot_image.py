from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from plot_samples import curve_sample, law_sample

from isoflop.cli.plot.image import save
from isoflop.lakehouse.errors import UsageError


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = save(law_sample(), tmp_path / f"a{suffix}"), save(law_sample(), tmp_path / f"b{suffix}")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 4000


def test_an_svg_carries_no_date_and_needs_no_font(tmp_path: Path) -> None:
    text = save(law_sample(), tmp_path / "law.svg").read_text()
    assert "<dc:date>" not in text
    assert "font-family" not in text


def test_linear_axes_and_gaps_can_be_drawn(tmp_path: Path) -> None:
    assert save(curve_sample(), tmp_path / "curves.svg").exists()


def test_dollar_signs_in_names_are_text_not_mathematics(tmp_path: Path) -> None:
    figure = dataclasses.replace(law_sample(), title="cost $5 and $x_", notes=("$\\frac$",))
    assert save(figure, tmp_path / "law.svg").exists()


def test_another_suffix_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.svg, \.png, \.pdf"):
        save(law_sample(), tmp_path / "law.gif")
    with pytest.raises(UsageError, match="does not exist"):
        save(law_sample(), tmp_path / "nowhere" / "law.svg")
