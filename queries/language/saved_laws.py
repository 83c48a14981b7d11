"""The laws a lake keeps: their names, their rows in `store.laws`, and SQL functions for each.

A change to a law and to its functions is one transaction, so that `SELECT chin(…)` from any DuckDB client
and `EXTRAPOLATE chin` always mean the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.runs.provenance import code_version
from isoflop.queries.language.macros import dropped_macros, macro_names, macros_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, known
from isoflop.queries.language.syntax.nodes import Name
from isoflop.queries.language.syntax.tokens import quote_name

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Asked

NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"
TAKEN = "a law of this name was made meanwhile"

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
       (SELECT CASE WHEN $is_new AND count(*) > 0 THEN error('{TAKEN}') ELSE coalesce(max(version), 0) + 1 END
        FROM store.laws l WHERE lower(l.name) = lower(_law.name)) AS version
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


def save_law(lake: Asked, record: LawRecord, about: Mapping[str, Any], *, is_new: bool) -> bool:
    """Keep a law as the next version of its name, with its macro, in one transaction.

    Parameters
    ----------
    record : the law with its numbers, `name` and `statement` given
    about : what `store.laws` keeps beyond it: source, options, objective, rows, dropped, data_hash, seed, diagnosis
    is_new : whether the name must not be taken

    Returns
    -------
    whether it is kept: False when `is_new` and another process has made a law of this name meanwhile
    """
    import duckdb
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
    statements: list[tuple[str, Any]] = [(_INSERT, {"is_new": is_new})]
    statements += [(macro, None) for macro in macros_of(record)]
    try:
        lake.write(statements, {"_law": pa.Table.from_pylist([row], schema=_schema())})
    except duckdb.InvalidInputException as error:
        if TAKEN in str(error):
            return False
        raise
    return True


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


def drop_law(lake: Asked, name: str) -> None:
    """Forget a law, every version of it, and its macro, in one transaction."""
    lake.write(
        [
            ("DELETE FROM store.laws WHERE lower(name) = lower($1)", [name]),
            *((text, None) for text in dropped_macros(name)),
        ]
    )


def rename_law(lake: Asked, record: LawRecord, new: str) -> None:
    """Give a law, every version of it, its forecasts and its macro another name, in one transaction."""
    statements: list[tuple[str, Any]] = [
        ("UPDATE store.laws SET name = $1 WHERE lower(name) = lower($2)", [new, record.name]),
        ("UPDATE store.forecasts SET law = $1 WHERE lower(law) = lower($2)", [new, record.name]),
        *((text, None) for text in dropped_macros(str(record.name))),
        *((text, None) for text in macros_of(replace(record, name=new))),
    ]
    lake.write(statements)


def comment_law(lake: Asked, record: LawRecord, comment: str | None) -> None:
    """Set the comment of a law's newest version."""
    lake.write(
        [
            (
                "UPDATE store.laws SET comment = $1 WHERE lower(name) = lower($2) AND version = $3",
                [comment, record.name, record.version],
            )
        ]
    )


def mark_stale(lake: Asked, found: Sequence[tuple[str, int, bool | None]]) -> None:
    """Write down which laws are stale: name, version and whether it is, None for unknown."""
    if lake.is_read_only:
        return
    text = "UPDATE store.laws SET stale = $1 WHERE lower(name) = lower($2) AND version = $3"
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
