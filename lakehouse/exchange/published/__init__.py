"""Published runs that come with isoflop, each a table with its source.

chinchilla_epoch.csv: 245 runs read off figure 4 of Hoffmann et al. 2022 (arXiv:2203.15556) by Besiroglu,
Erdil, Barnett and You, "Chinchilla Scaling: A replication attempt" (arXiv:2404.10102), repository
epoch-research/analyzing-chinchilla, file data/svg_extracted_data.csv, commit 92258837425e. `params`, `flops`
and `loss` are as read; `tokens` is flops / (6 params); `outlier` marks the five rows of highest loss, which
the replication leaves out.
"""

from __future__ import annotations

from pathlib import Path

from isoflop.lakehouse.errors import UsageError, did_you_mean


def published_tables() -> dict[str, Path]:
    """Return the tables by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.csv"))}


def find_published(name: str) -> Path:
    """Return the file of a published table.

    Raises
    ------
    UsageError : if there is none of that name
    """
    tables = published_tables()
    if name not in tables:
        known = f"known: {', '.join(tables)}; laws of papers need no import: isoflop laws --published"
        raise UsageError(f"there are no published runs '{name}'", hint=did_you_mean(name, tables, known))
    return tables[name]
