"""Record what the statements of `statements.py` answer, or compare with what was recorded: every number bit for bit.

usage: python -m tests.recorded --write before.json
       python -m tests.recorded --compare before.json

The last bits of a fit depend on the processor and the linear algebra library, so a record is made and compared on one
machine: before a change of structure, and after it. Exits with 1 where an answer differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError
from isoflop.lakehouse.exchange.formats import import_path
from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.language import execute
from tests.published.published_rows import DATA
from tests.recorded.statements import STATEMENTS

VOLATILE = frozenset(
    {"created", "saved", "seconds", "made", "fit_seconds", "total_seconds"}
)  # the clock, not the answer

Answer = dict[str, list[str]]  # column -> values, floats in hexadecimal


def answers() -> dict[str, Answer]:
    """Return what each statement answers on a new lake; an error is its text."""
    found: dict[str, Answer] = {}
    with tempfile.TemporaryDirectory() as folder, Lakehouse(Path(folder) / "recorded.duckdb", language=execute) as lake:
        import_path(lake, find_published("chinchilla_epoch"))
        session = lake.session()
        for table in ("gadre_overtraining", "gemstones_lr_ablation_curves"):
            name = table.partition("_")[0]
            session.sql(f"CREATE TABLE {name} AS FROM read_csv('{DATA / table}.csv')")
        for statement in STATEMENTS:
            print(statement[:110], file=sys.stderr, flush=True)
            try:
                table = session.sql(statement).arrow()
            except (IsoflopError, duckdb.Error) as error:
                found[statement] = {"error": [str(error)]}
                continue
            columns = [name for name in table.column_names if name not in VOLATILE]
            found[statement] = {name: [_exact(value) for value in table.column(name).to_pylist()] for name in columns}
    return found


def _exact(value: Any) -> str:
    """Return a value as text that no two values share."""
    match value:
        case float():
            return value.hex()
        case list():
            return f"[{', '.join(_exact(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_exact(item)}' for key, item in value.items() if key not in VOLATILE)}}}"
        case _:
            return str(value)


def differences(before: dict[str, Answer], after: dict[str, Answer]) -> list[str]:
    """Return one line for each column that differs, with the first value that does."""
    lines = []
    for statement, columns in before.items():
        now = after.get(statement, {})
        for name in dict.fromkeys([*columns, *now]):
            if columns.get(name) != now.get(name):
                pairs = zip(columns.get(name, ["no column"]), now.get(name, ["no column"]), strict=False)
                first = next((pair for pair in pairs if pair[0] != pair[1]), ("fewer rows", "more rows"))
                lines.append(f"{statement[:100]}\n  {name}: {first[0][:300]}\n  now {first[1][:300]}")
    return lines


def main() -> int:
    """Write or compare the record."""
    parser = argparse.ArgumentParser(prog="python -m tests.recorded")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FILE")
    action.add_argument("--compare", type=Path, metavar="FILE")
    given = parser.parse_args()
    found = answers()
    if given.write:
        given.write.write_text(json.dumps(found, indent=1))
        return 0
    lines = differences(json.loads(given.compare.read_text()), found)
    print("\n".join(lines) or f"{len(found)} statements, all the same bits")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
