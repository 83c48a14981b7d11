"""The laws a lake keeps: their names, their rows in `store.laws`, and a macro for each.

A change to a law and to its macro is one transaction, so that `SELECT chin(…)` from any DuckDB client
and `EXTRAPOLATE chin` always mean the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.provenance import code_version
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.language.bind import unknown_law, with_names
from isoflop.queries.language.nodes import Name
from isoflop.queries.language.question import Question
from isoflop.queries.language.tokens import quote_name
from isoflop.queries.laws import Coefficient, Formula, Law, find_law, parse_formula
from isoflop.queries.laws.objective_names import find_objective
from isoflop.queries.laws.objectives import Objective

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Lakehouse

Array = NDArray[np.float64]
NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"
TAKEN = "a law of this name was made meanwhile"
BUILT_IN, TYPED = "law", "formula"

_WHAT_A_NAME_IS = """
SELECT (SELECT any_value(keyword_category) FROM duckdb_keywords() WHERE keyword_name = lower($name)) AS keyword,
       (SELECT bool_or(internal) FROM duckdb_functions() WHERE lower(function_name) = lower($name)) AS internal,
       EXISTS (SELECT 1 FROM store.laws WHERE lower(name) = lower($name)) AS is_law
"""
_INSERT = f"""
INSERT INTO store.laws BY NAME
SELECT * REPLACE (options::JSON AS options, diagnosis::JSON AS diagnosis), {NOW} AS created_at,
       (SELECT CASE WHEN $is_new AND count(*) > 0 THEN error('{TAKEN}') ELSE coalesce(max(version), 0) + 1 END
        FROM store.laws l WHERE lower(l.name) = lower(_law.name)) AS version
FROM _law
"""


@dataclass(frozen=True)
class LawRecord:
    """A law with its numbers, as EXTRAPOLATE and its kin take it: saved, or fitted just now.

    Parameters
    ----------
    name, version : None for one that is not saved
    form : name of the built-in law, or the formula as typed
    target : name of what it predicts
    target_sql : SQL that computes the target, over the columns it was fitted to
    arguments : SQL that computes each input, over the same columns
    fitted : the law, with inputs named as its columns, and what predictions need
    std_errors, lower, upper : (K,) float arrays, NaN where unknown
    at_bound : (K,) whether a coefficient lies on the edge of its domain
    residuals : (R,) log residuals [1] of the rows it was fitted to
    level : share that the intervals cover
    penalty : what the fit minimised
    status, notes : how the fit went
    statement : the text that made it, empty when it is not saved
    values : parameters that the text was given
    data_hash : identifies the rows it was fitted to
    """

    name: str | None
    version: int | None
    form: str
    target: str
    target_sql: str
    arguments: tuple[str, ...]
    fitted: FittedLaw
    std_errors: Array
    lower: Array
    upper: Array
    at_bound: tuple[bool, ...]
    residuals: Array
    level: float
    penalty: Objective
    status: str
    notes: tuple[str, ...] = ()
    statement: str = ""
    values: Mapping[str, Any] | None = None
    data_hash: str = ""

    @property
    def law(self) -> Law:
        """The law, with inputs named as its columns."""
        return self.fitted.law

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(one.name for one in self.law.inputs)

    @property
    def title(self) -> str:
        """What the law is called in a sentence."""
        return f"law '{self.name}'" if self.name else f"the fit of {self.form}"


# Reading


def saved_names(lake: Lakehouse) -> list[str]:
    """Return the names of the saved laws."""
    names: list[str] = lake.query("SELECT DISTINCT name FROM store.laws ORDER BY name").column("name").to_pylist()
    return names


def load_law(question: Question, name: Name, version: int | None = None) -> LawRecord:
    """Return a saved law, the newest version unless one is named.

    Raises
    ------
    UnknownName : when there is no such law
    StatementError : when there is no such version
    """
    wanted = "" if version is None else "AND version = $version"
    values: dict[str, Any] = {"name": name.text} if version is None else {"name": name.text, "version": version}
    rows = question.lake.query(
        f"FROM store.laws WHERE lower(name) = lower($name) {wanted} ORDER BY version DESC LIMIT 1", values
    ).to_pylist()
    if rows:
        return _record(rows[0])
    known = saved_names(question.lake)
    if version is not None and name.text.lower() in {each.lower() for each in known}:
        raise question.error("Catalog", f"law '{name.text}' has no version {version}", name)
    raise unknown_law(question, name, known)


def law_exists(lake: Lakehouse, name: str) -> bool:
    """Return whether a law of this name is saved."""
    found = lake.query("SELECT 1 FROM store.laws WHERE lower(name) = lower($1) LIMIT 1", [name])
    return bool(found.num_rows)


def _record(row: Mapping[str, Any]) -> LawRecord:
    """Return a row of `store.laws` as a record."""
    options = json.loads(row["options"] or "{}")
    numbers = row["coefficients"]
    coefficients = tuple(
        Coefficient(
            one["name"],
            lower=-np.inf if one["lower"] is None else one["lower"],
            upper=np.inf if one["upper"] is None else one["upper"],
            init=one["init"],
            fixed=one["fixed"],
        )
        for one in options["domains"]
    )
    penalty = find_objective(options["objective"], options["delta"])
    law: Law
    if options["kind"] == BUILT_IN:
        law = with_names(find_law(row["form"]), row["inputs"], row["target"])
        if options["is_changed"] and isinstance(law, Formula):
            roles = {one.name: one.role for one in law.coefficients}
            law = replace(
                law, coefficients=tuple(replace(one, role=roles[one.name]) for one in coefficients), chart=None
            )
    else:
        law = parse_formula(row["formula"], coefficients, row["inputs"], target=row["target"], objective=penalty)

    def column(key: str) -> Array:
        return np.array([np.nan if one[key] is None else one[key] for one in numbers], dtype=np.float64)

    draws = np.array(row["draws"] or [], dtype=np.float64).reshape(-1, len(numbers))
    support = np.array([[one["lowest"], one["largest"]] for one in row["support"]], dtype=np.float64).reshape(-1, 2)
    scale = np.nan if row["residual_scale"] is None else row["residual_scale"]
    widening = json.loads(row["diagnosis"] or "{}").get("widening") or 1.0
    return LawRecord(
        name=row["name"],
        version=row["version"],
        form=row["form"],
        target=row["target"],
        target_sql=options["target"],
        arguments=tuple(options["arguments"]),
        fitted=FittedLaw(law, column("estimate"), draws, scale, support, widening),
        std_errors=column("std_error"),
        lower=column("lower"),
        upper=column("upper"),
        at_bound=tuple(bool(one["at_bound"]) for one in numbers),
        residuals=np.array(row["residuals"] or [], dtype=np.float64),
        level=row["level"],
        penalty=penalty,
        status=row["status"],
        notes=tuple(row["notes"] or ()),
        statement=row["statement"] or "",
        values=options.get("values"),
        data_hash=row["data_hash"] or "",
    )


# Writing


def check_name(question: Question, name: Name) -> None:
    """Check that a law may have a name: its macro must not hide a function, and the name must not be a keyword.

    Raises
    ------
    StatementError : with what to do instead
    """
    if not name.text.strip():
        raise question.error("Catalog", "a law needs a name", name)
    found = question.lake.query(_WHAT_A_NAME_IS, {"name": name.text}).to_pylist()[0]
    if found["keyword"] not in (None, "unreserved"):
        raise question.error(
            "Catalog", f"'{name.text}' is a keyword, and a law is also an SQL function", name, f"try {name.text}_law"
        )
    if found["internal"]:
        raise question.error(
            "Catalog", f"'{name.text}' is a function of DuckDB, which the law's macro would hide", name,
            f"try {name.text}_law",
        )  # fmt: skip
    if found["internal"] is not None and not found["is_law"]:
        raise question.error(
            "Catalog", f"'{name.text}' is a macro in this lake, which the law's macro would replace", name,
            f"choose another name, or DROP MACRO {quote_name(name.text)} first",
        )  # fmt: skip


def save_law(lake: Lakehouse, record: LawRecord, about: Mapping[str, Any], *, is_new: bool) -> bool:
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
    macro = macro_of(record)
    if macro is not None:
        statements.append((macro, None))
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
            "coefficient": one.name,
            "estimate": known(columns[0][k]),
            "std_error": known(columns[1][k]),
            "lower": known(columns[2][k]),
            "upper": known(columns[3][k]),
            "at_bound": record.at_bound[k],
        }
        for k, one in enumerate(record.law.coefficients)
    ]


def known(value: float | np.floating[Any] | None) -> float | None:
    """Return a number as it is kept: what is unknown is None, not NaN."""
    return None if value is None or np.isnan(value) else float(value)


def macro_of(record: LawRecord) -> str | None:
    """Return the statement that makes the law's macro, or None for a law that has none."""
    macro = getattr(record.law, "macro", None)
    if macro is None:
        return None
    text: str = macro(record.name, record.fitted.coefficients)
    return text


def drop_law(lake: Lakehouse, name: str) -> None:
    """Forget a law, every version of it, and its macro, in one transaction."""
    lake.write(
        [
            ("DELETE FROM store.laws WHERE lower(name) = lower($1)", [name]),
            (f"DROP MACRO IF EXISTS {quote_name(name)}", None),
        ]
    )


def rename_law(lake: Lakehouse, record: LawRecord, new: str) -> None:
    """Give a law, every version of it, and its macro another name, in one transaction."""
    statements: list[tuple[str, Any]] = [
        ("UPDATE store.laws SET name = $1 WHERE lower(name) = lower($2)", [new, record.name]),
        (f"DROP MACRO IF EXISTS {quote_name(str(record.name))}", None),
    ]
    macro = macro_of(replace(record, name=new))
    if macro is not None:
        statements.append((macro, None))
    lake.write(statements)


def comment_law(lake: Lakehouse, record: LawRecord, comment: str | None) -> None:
    """Set the comment of a law's newest version."""
    lake.write(
        [
            (
                "UPDATE store.laws SET comment = $1 WHERE lower(name) = lower($2) AND version = $3",
                [comment, record.name, record.version],
            )
        ]
    )


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
