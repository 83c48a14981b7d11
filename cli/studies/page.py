"""The page of a study: its text, its statements, and the answers written below them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isoflop.lakehouse.errors import UsageError, did_you_mean

FOLDER = Path(__file__).parent
SWEEP, PAGE = ".yaml", ".md"
ASKED, DRAWN = "sql", "plot"
_FENCE = re.compile(rf"^```({ASKED}|{DRAWN})\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A part of a page.

    Parameters
    ----------
    kind : `prose`, `sql` (asked, and its answer written below) or `plot` (asked, and its answer drawn)
    text : as it stands between the fences; of a plot without the comment that is its title
    title : of a plot
    """

    kind: str
    text: str
    title: str | None = None


@dataclass(frozen=True)
class Study:
    """A sweep file and a page that asks what became of it.

    Parameters
    ----------
    name : of both files
    """

    name: str

    @property
    def sweep(self) -> Path:
        """The sweep file."""
        return FOLDER / f"{self.name}{SWEEP}"

    @property
    def text(self) -> str:
        """The page without answers."""
        return (FOLDER / f"{self.name}{PAGE}").read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The heading of the page."""
        return self.text.partition("\n")[0].removeprefix("# ").strip()

    def blocks(self) -> Iterator[Block]:
        """Yield prose, statements and plots in their order."""
        end = 0
        for found in _FENCE.finditer(self.text):
            if before := self.text[end : found.start()].strip("\n"):
                yield Block("prose", before)
            kind, statement = found[1], found[2].strip()
            title = None
            if kind == DRAWN and statement.startswith("--"):
                title, _, statement = statement.removeprefix("--").strip().partition("\n")
            yield Block(kind, statement.strip(), title)
            end = found.end()
        if after := self.text[end:].strip("\n"):
            yield Block("prose", after)


def studies() -> dict[str, Study]:
    """Return every study by name: those with both a sweep file and a page."""
    names = sorted(path.stem for path in FOLDER.glob(f"*{SWEEP}") if path.with_suffix(PAGE).exists())
    return {name: Study(name) for name in names}


def find_study(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    UsageError : with the nearest name
    """
    known = studies()
    if name not in known:
        hint = did_you_mean(name, known, f"there are {', '.join(known)}")
        raise UsageError(f"there is no study '{name}'", hint=hint)
    return known[name]
