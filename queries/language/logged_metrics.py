"""A metric that runs have logged in the place of a column: where its values are, and the statement that fits them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isoflop.lakehouse.errors import StatementError, nearest
from isoflop.lakehouse.sql.quoting import literal, quoted
from isoflop.queries.language.question import Question
from isoflop.queries.language.reading import source_pieces
from isoflop.queries.language.syntax.nodes import Source, Span

_MISSING = re.compile(r'Referenced column "(?P<name>(?:[^"]|"")+)" not found')
LONGEST = 240  # characters of a statement that a hint shows whole; of a longer one it shows the source


def logged_instead(question: Question, source: Source, error: StatementError) -> StatementError | None:
    """Return what to say of a column that `runs` does not have but a metric is called like; None for another error.

    Parameters
    ----------
    error : DuckDB's, shown in the statement
    """
    found = _MISSING.search(error.message)
    relation = source.relation
    if found is None or relation.text.strip().strip('"').lower() != "runs":
        return None
    name = found["name"].replace('""', '"')
    metrics: list[str] = question.lake.query("SELECT DISTINCT metric FROM finals").column("metric").to_pylist()
    by_lower = {metric.lower(): metric for metric in metrics}
    metric = by_lower.get(name.lower())
    if metric is None:
        columns = question.lake.query("SELECT * FROM runs LIMIT 0").column_names
        if (meant := _meant(name, columns)) is not None:
            message = f"'{name}' is no column of runs"
            return question.error(error.kind, message, Span(error.start, error.end), f"did you mean '{meant}'?")
        metric = nearest(name, metrics)
    if metric is None:
        return None
    column = metric if metric.isidentifier() and metric.isascii() else quoted(metric)
    rows = (
        f"(SELECT r.*, f.last AS {column} FROM runs r JOIN finals f USING (run_id, attempt) "
        f"WHERE f.metric = {literal(metric)})"
    )
    typed = question.text[: error.start] + column + question.text[error.end :]
    moved = len(typed) - len(question.text) if error.start < relation.start else 0
    start, end = relation.start + moved, relation.end + moved
    whole = " ".join((typed[:start] + rows + typed[end:]).split())
    shown = whole if len(whole) <= LONGEST else f"FROM {rows}"
    is_meant = metric.lower() == name.lower()
    message = f"'{name}' is a metric that runs have logged, and no column of runs"
    if not is_meant:
        message = f"'{name}' is no column of runs; '{metric}' is a metric that they have logged"
    hint = f"its last value in each run is in finals, its curve in metric_curves: {shown}"
    return question.error(error.kind, message, Span(error.start, error.end), hint)


def _meant(name: str, columns: Sequence[str]) -> str | None:
    """Return the column of runs that is meant: what tables call a count so, or one that is spelled alike."""
    from isoflop.lakehouse.exchange.naming import TABLE_NAMES, plain_name

    word = plain_name(name)
    meant = next((ours for ours, names in TABLE_NAMES.items() if word in names and ours in columns), None)
    return meant or nearest(name, columns)


def other_loss(question: Question, source: Source, reasons: Sequence[str]) -> str | None:
    """Return what to fit where rows have no loss, and a validation loss; None where they have neither.

    Parameters
    ----------
    reasons : why rows are not usable
    """
    if not any(reason.startswith("loss is NULL") for reason in reasons):
        return None
    try:
        table = question.run("SELECT count(validation_loss) AS known", *source_pieces(source))
    except StatementError:  # no such column
        return None
    known = table.column("known")[0].as_py()
    return f"{known} of them have a validation_loss: fit that" if known else None
