"""The page on the laws says what the laws say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from isoflop.queries.laws import LAWS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "laws.md").read_text()


@pytest.mark.slow
def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "--check"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_every_law_has_a_section_with_its_formula_and_source() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
    assert set(sections) == set(LAWS)
    for name, law in LAWS.items():
        assert law.source in sections[name] and "```math" in sections[name]
        assert ("CREATE OR REPLACE" in sections[name]) == (law.macro(name, [0.5] * len(law.coefficients)) is not None)
