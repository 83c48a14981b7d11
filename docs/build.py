"""Writes the pages that come from the source: `python docs/build.py`; with `--check` it only says what is stale.

Tests run the check. Numbers in examples may differ from machine to machine in their last digits.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import atlas
import families
import language
import laws
import parametrizations
import tables
import theories

FOLDER = Path(__file__).parent
README = "../README.md"
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
CLOSE = 2e-3  # relative difference of two numbers that are taken for the same [1]


def files() -> dict[str, str]:
    """Return what each file should hold, by its name in this folder."""
    readme = laws.in_readme((FOLDER / README).read_text(encoding="utf-8"))
    pages = {
        "laws.md": laws,
        "atlas.md": atlas,
        "theories.md": theories,
        "families.md": families,
        "parametrizations.md": parametrizations,
        "tables.md": tables,
        "language.md": language,
    }
    return {README: readme, **{name: page.page() for name, page in pages.items()}, **language.figures()}


def is_same(text: str, other: str) -> bool:
    """Return whether two texts differ in nothing but the last digits of numbers and the blanks around them."""
    if text == other:
        return True
    words, others = (re.split(r"[\s─]+", NUMBER.sub("#", each)) for each in (text, other))
    if words != others:
        return False
    pairs = zip(NUMBER.findall(text), NUMBER.findall(other), strict=True)
    return all(
        abs(float(one) - float(two)) <= CLOSE * max(abs(float(one)), abs(float(two)), 1e-12) for one, two in pairs
    )


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` return 1 when one is not up to date."""
    wanted = files()
    drawn = {f"{language.FIGURES}/{path.name}" for path in (FOLDER / language.FIGURES).glob("*.svg")}
    stale = sorted(drawn - set(wanted))
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.exists() or not is_same(path.read_text(encoding="utf-8"), text):
            stale.append(name)
            if "--check" not in arguments:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if "--check" in arguments and stale:
        print(f"stale: {', '.join(f'docs/{name}' for name in stale)}; run: python docs/build.py", file=sys.stderr)
        return 1
    for name in drawn - set(wanted):
        (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
