"""The saved laws and the forms there are: SHOW, DESCRIBE, ALTER, COMMENT, DROP."""

from __future__ import annotations

from isoflop.queries.language.reference.page import Page

SHOW_LAWS = Page(
    verb="show_laws",
    purpose="Lists the newest version of every saved law. `store.laws` has every version.",
    sample="SHOW LAWS",
    columns={
        "name": "what it is called",
        "version": "number of the newest version, from 1",
        "form": "the law form, or the formula as typed",
        "target": "what it predicts",
        "inputs": "list of the columns it predicts from",
        "rows": "rows it was fitted to",
        "status": "how the fit went",
        "stale": "whether its rows have changed since; null where that is unknown",
        "objective": "what was minimised, at the optimum [1]",
        "created_at": "when, in UTC",
        "comment": "what `COMMENT ON LAW` says",
    },
    examples=("SELECT name, version, form, inputs, rows, status FROM (SHOW LAWS)",),
)

SHOW_LAW_FORMS = Page(
    verb="show_law_forms",
    purpose="Lists the laws that have names: the forms that `FIT` takes, [each in full](laws.md).",
    sample="SHOW LAW FORMS",
    columns={
        "form": "its name",
        "formula": "what it computes",
        "target": "what it usually predicts",
        "inputs": "list of its inputs, in the order of its arguments",
        "coefficients": "list of its coefficients",
        "source": "where it was published",
    },
    examples=("SELECT form, formula FROM (SHOW LAW FORMS LIKE 'chin%')",),
)

DESCRIBE_LAW = Page(
    verb="describe_law",
    purpose="Lists the coefficients of a saved law; notes repeat what is worth knowing about its fit.",
    sample="DESCRIBE LAW chin",
    columns={
        "coefficient": "its name",
        "estimate": "its value, in its unit",
        "std_error": "standard error from the resamples, in its unit",
        "lower": "lower end of its interval, in its unit",
        "upper": "upper end, in its unit",
        "level": "share that the interval covers [1]",
        "at_bound": "whether it ended on the edge of its domain",
        "unit": "its unit; null where it depends on the exponents",
        "stale": "whether the rows have changed since; null where that is unknown",
    },
    examples=(
        "SELECT coefficient, round(estimate, 2) AS estimate, round(lower, 1) AS lower, at_bound, unit\n"
        "FROM (DESCRIBE LAW chin) WHERE coefficient NOT IN ('A', 'B')",
    ),
    mistakes=("DESCRIBE LAW chinn", "DESCRIBE LAW chin VERSION 9"),
)

ALTER_LAW = Page(
    verb="alter_law",
    purpose="Gives a law another name, with every version of it, its forecasts and its macro.",
    examples=("ALTER LAW brief RENAME TO short; SELECT name FROM (SHOW LAWS)",),
    mistakes=("ALTER LAW chin RENAME TO select",),
)

COMMENT_ON_LAW = Page(
    verb="comment_on_law",
    purpose="Says something about a law, which `SHOW LAWS` repeats; `NULL` takes it back.",
    examples=("COMMENT ON LAW chin IS 'Hoffmann et al., figure 4'; SELECT name, comment FROM (SHOW LAWS)",),
)

DROP_LAW = Page(
    verb="drop_law",
    purpose="Forgets a law with every version of it and its macro; its forecasts stay.",
    examples=("DROP LAW short; SELECT name FROM (SHOW LAWS)",),
    mistakes=("DROP LAW short",),
)
