"""The laws a lake keeps: their names, their rows in `store.laws`, and SQL functions for each.

A change to a law and to its functions is one transaction, so that `SELECT chin(…)` from any DuckDB client
and `EXTRAPOLATE chin` always mean the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.runs.provenance import code_version
from isoflop.queries.language.changing import Change
from isoflop.queries.language.macros import dropped_macros, macro_names, macros_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, known
from isoflop.queries.language.syntax.nodes import Name
from isoflop.queries.language.syntax.tokens import quote_name

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Asked

NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"

_WHAT_NAMES_ARE = """
SELECT n.name,
       (SELECT any_value(keyword_category) FROM duckdb_keywords() WHERE keyword_name = lower(n.name)) AS keyword,
       (SELECT bool_or(internal) FROM duckdb_functions() WHERE lower(function_name) = lower(n.name)) AS internal,
       (SELECT any_value(l.name) FROM store.laws l WHERE lower(l.name) = lower(n.name)) AS law,
       (SELECT any_value(l.name) FROM store.laws l
        WHERE lower(n.name) IN (lower(l.name) || '_lower', lower(l.name) || '_upper')) AS owner,
       (SELECT any_value(r.kind) FROM (
            SELECT table_name AS name, 'table' AS kind FROM duckdb_tables()
            WHERE database_name = current_database() AND schema_name = 'main'
            UNION ALL
            SELECT view_name, 'view' FROM duckdb_views()
            WHERE database_name = current_database() AND schema_name = 'main') r
        WHERE lower(r.name) = lower(n.name)) AS relation
FROM (SELECT unnest($names) AS name) n
"""
_INSERT = f"""
INSERT INTO store.laws BY NAME
SELECT * REPLACE (options::JSON AS options, diagnosis::JSON AS diagnosis), {NOW} AS created_at, false AS stale,
       (SELECT coalesce(max(version), 0) + 1 FROM store.laws l WHERE lower(l.name) = lower(_law.name)) AS version
FROM _law
"""


def law_exists(lake: Asked, name: str) -> bool:
    """Return whether a law of this name is saved."""
    found = lake.query("SELECT 1 FROM store.laws WHERE lower(name) = lower($1) LIMIT 1", [name])
    return bool(found.num_rows)


def check_name(question: Question, name: Name, own: str | None = None) -> None:
    """Check that a law may have a name: neither it nor the names of its bounds may be those of something else.

    Parameters
    ----------
    own : name that the law has already, whose functions it may replace

    Raises
    ------
    StatementError : with what to do instead
    """
    if not name.text.strip():
        raise question.error("Catalog", "a law needs a name", name)
    from isoflop.queries.theory import known_theories

    if name.text.lower() in {theory.lower() for theory in known_theories()}:
        hint = "take another name: COMPARE would not know which of the two is meant"
        raise question.error("Catalog", f"'{name.text}' is a theory", name, hint)
    found = question.lake.query(_WHAT_NAMES_ARE, {"names": list(macro_names(name.text))}).to_pylist()
    laws = {name.text.lower(), (own or name.text).lower()}
    for record in found:
        what = _what_stands_in_the_way(record, laws, is_law=record["name"] == name.text)
        if what is not None:
            message, hint = what
            raise question.error("Catalog", message, name, hint)


def _what_stands_in_the_way(found: Mapping[str, Any], laws: set[str], *, is_law: bool) -> tuple[str, str] | None:
    """Return what a function of a law cannot be called like, and what to do; None when nothing is called so.

    Parameters
    ----------
    found : what a name is already
    laws : names in lower case of the law that is to be called so
    is_law : whether it is the name of the law itself, not of one of its bounds
    """
    name = found["name"]
    other = "choose another name"
    title = f"'{name}'" if is_law else f"'{name}', a bound of the law as an SQL function,"
    if found["keyword"] not in (None, "unreserved"):
        return f"{title} is a keyword, and a law is also an SQL function", f"try {name}_law"
    if found["internal"]:
        return f"{title} is a function of DuckDB, which the law's macro would hide", f"try {name}_law"
    if not is_law and found["law"] is not None:
        return f"{title} is a law already", other
    owner = found["owner"]
    if owner is not None and owner.lower() not in laws:
        return f"{title} is a bound of law '{owner}' as an SQL function", other
    is_ours = found["law"] is not None or owner is not None
    if found["internal"] is not None and not is_ours:
        return (
            f"{title} is a macro in this lake, which the law's macro would replace",
            f"{other}, or DROP MACRO {quote_name(name)} first",
        )
    if is_law and found["relation"] is not None and found["law"] is None:
        return f"{title} is a {found['relation']} in this lake", f"try {name}_law"
    return None


def save_law(change: Change, record: LawRecord, about: Mapping[str, Any]) -> None:
    """Keep a law as the next version of its name, with its macros, in one transaction.

    Parameters
    ----------
    change : the transaction
    record : the law with its numbers, `name` and `statement` given
    about : what `store.laws` keeps beyond it: source, options, objective, rows, dropped, data_hash, seed, diagnosis

    Raises
    ------
    StatementError : when the laws are not what they were
    """
    import pyarrow as pa

    row = {
        "name": record.name,
        "form": record.form,
        "formula": record.law.formula,
        "target": record.target,
        "inputs": list(record.inputs),
        "statement": record.statement,
        "code_version": code_version(),
        "coefficients": coefficient_rows(record),
        "level": record.level,
        "draws": record.fitted.draws.tolist(),
        "residuals": record.residuals.tolist(),
        "residual_scale": known(record.fitted.residual_scale),
        "support": [
            {"input": name, "lowest": low, "largest": high}
            for name, (low, high) in zip(record.inputs, record.fitted.support.tolist(), strict=True)
        ],
        "status": record.status,
        "notes": list(record.notes),
        **about,
    }
    made = macros_of(record)
    # Of a version before, which may have had functions that this one does not have.
    left = dropped_macros(str(record.name)) if len(made) < len(macro_names(str(record.name))) else []
    statements: list[tuple[str, Any]] = [(_INSERT, None), *((macro, None) for macro in (*left, *made))]
    change.write(statements, {"_law": pa.Table.from_pylist([row], schema=_schema())})


def coefficient_rows(record: LawRecord) -> list[dict[str, Any]]:
    """Return one row for each coefficient: estimate, error, interval, whether it ended at a bound."""
    columns = (record.fitted.coefficients, record.std_errors, record.lower, record.upper)
    return [
        {
            "coefficient": coefficient.name,
            "estimate": known(columns[0][k]),
            "std_error": known(columns[1][k]),
            "lower": known(columns[2][k]),
            "upper": known(columns[3][k]),
            "at_bound": record.at_bound[k],
        }
        for k, coefficient in enumerate(record.law.coefficients)
    ]


def drop_law(change: Change, name: str) -> None:
    """Forget a law, every version of it, and its macros, in one transaction.

    Raises
    ------
    StatementError : when it is gone already
    """
    statements: list[tuple[str, Any]] = [("DELETE FROM store.laws WHERE lower(name) = lower($1)", [name])]
    change.needs(name).write([*statements, *((text, None) for text in dropped_macros(name))])


def rename_law(change: Change, record: LawRecord, new: str) -> None:
    """Give a law, every version of it, its forecasts and its macros another name, in one transaction.

    Raises
    ------
    StatementError : when it is not what was read any more, or the name is taken
    """
    old = str(record.name)
    change.needs_as_read(record)
    if new.lower() != old.lower():
        change.needs_free(new, f"DROP LAW {new} first")
    statements: list[tuple[str, Any]] = [
        ("UPDATE store.laws SET name = $1 WHERE lower(name) = lower($2)", [new, old]),
        ("UPDATE store.forecasts SET law = $1 WHERE lower(law) = lower($2)", [new, old]),
        *((text, None) for text in dropped_macros(old)),
        *((text, None) for text in macros_of(replace(record, name=new))),
    ]
    change.write(statements)


def comment_law(change: Change, record: LawRecord, comment: str | None) -> None:
    """Set the comment of a law's newest version.

    Raises
    ------
    StatementError : when that is not what was read any more
    """
    text = "UPDATE store.laws SET comment = $1 WHERE lower(name) = lower($2) AND version = $3"
    change.needs_as_read(record).write([(text, [comment, record.name, record.version])])


def mark_stale(lake: Asked, found: Sequence[tuple[str, int, bool | None]]) -> None:
    """Write down which laws are stale: name, version and whether it is, None for unknown.

    Where another session is changing one of them, the next look writes it down.
    """
    import duckdb

    if lake.is_read_only:
        return
    text = "UPDATE store.laws SET stale = $1 WHERE lower(name) = lower($2) AND version = $3"
    with contextlib.suppress(duckdb.TransactionException):
        lake.write([(text, [stale, name, version]) for name, version, stale in found])


def _schema() -> pa.Schema:
    """Return the Arrow types of a row of `store.laws`."""
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    estimate = {"coefficient": text, "estimate": number, "std_error": number, "lower": number, "upper": number}
    return pa.schema(
        {
            "name": text,
            "form": text,
            "formula": text,
            "target": text,
            "inputs": pa.list_(text),
            "statement": text,
            "source": text,
            "options": text,
            "seed": pa.int64(),
            "code_version": text,
            "coefficients": pa.list_(pa.struct({**estimate, "at_bound": pa.bool_()})),
            "level": number,
            "draws": pa.list_(pa.list_(number)),
            "residuals": pa.list_(number),
            "residual_scale": number,
            "support": pa.list_(pa.struct({"input": text, "lowest": number, "largest": number})),
            "objective": number,
            "rows": pa.int64(),
            "dropped": pa.int64(),
            "data_hash": text,
            "status": text,
            "notes": pa.list_(text),
            "diagnosis": text,
        }
    )
