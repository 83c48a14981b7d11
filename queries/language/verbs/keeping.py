"""The saved laws and the forms there are: SHOW, DESCRIBE, ALTER, COMMENT, DROP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.syntax.nodes import CommentLaw, DescribeLaw, DropLaw, RenameLaw, Show
from isoflop.queries.language.syntax.parts import read_law_name, read_pattern
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question


_SHOW_LAWS_PAGE = Page(
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
        "objective": "what was minimized, at the optimum [1]",
        "created_at": "when, in UTC",
        "comment": "what `COMMENT ON LAW` says",
    },
    examples=("SELECT name, version, form, inputs, rows, status FROM (SHOW LAWS)",),
)


def _show_laws_plan(question: Question, node: Show) -> Plan:
    from isoflop.queries.language.plans.show import ShowLawsPlan

    return ShowLawsPlan(question, node)


SHOW_LAWS = Verb(
    words="SHOW LAWS",
    rule="SHOW LAWS [ LIKE text ]",
    node=Show,
    parse=lambda reader: read_pattern(reader, "SHOW LAWS"),
    plan=_show_laws_plan,
    page=_SHOW_LAWS_PAGE,
    briefs=(Brief("list the laws of the lake", "SHOW LAWS"),),
)


_DESCRIBE_LAW_PAGE = Page(
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


def _describe(reader: TokenReader) -> DescribeLaw:
    start = reader.begin("DESCRIBE LAW")
    name = read_law_name(reader, "the name of a law", "SHOW LAWS lists them")
    version = reader.value(Kind.NUMBER, "a version number") if reader.accept("VERSION") else None
    return DescribeLaw(start, reader.end, name, version)


def _describe_law_plan(question: Question, node: DescribeLaw) -> Plan:
    from isoflop.queries.language.plans.show import DescribePlan

    return DescribePlan(question, node)


DESCRIBE_LAW = Verb(
    words="DESCRIBE LAW",
    needs=lambda token: token.is_name,
    rule="DESCRIBE LAW ( saved_law [ VERSION version ] | published )",
    node=DescribeLaw,
    parse=_describe,
    plan=_describe_law_plan,
    page=_DESCRIBE_LAW_PAGE,
    briefs=(Brief("show a law's coefficients with their intervals", "DESCRIBE LAW chin"),),
)


_SHOW_LAW_FORMS_PAGE = Page(
    purpose="Lists the laws that have names: the forms that `FIT` takes, [each in full](laws.md).",
    sample="SHOW LAW FORMS",
    columns={
        "form": "its name; `auto`, a mean of several, once for each number of inputs",
        "formula": "what it computes",
        "target": "what it usually predicts",
        "inputs": "list of its inputs, in the order of its arguments",
        "coefficients": "list of its coefficients",
        "source": "where it was published",
    },
    examples=("SELECT form, formula FROM (SHOW LAW FORMS LIKE 'chin%')",),
)


def _show_law_forms_plan(question: Question, node: Show) -> Plan:
    from isoflop.queries.language.plans.show import ShowFormsPlan

    return ShowFormsPlan(question, node)


SHOW_LAW_FORMS = Verb(
    words="SHOW LAW FORMS",
    is_of_program=True,
    rule="SHOW LAW FORMS [ LIKE text ]",
    node=Show,
    parse=lambda reader: read_pattern(reader, "SHOW LAW FORMS"),
    plan=_show_law_forms_plan,
    page=_SHOW_LAW_FORMS_PAGE,
    briefs=(Brief("list the forms that can be fitted by name", "SHOW LAW FORMS"),),
)


_COMMENT_ON_LAW_PAGE = Page(
    purpose="Says something about a law, which `SHOW LAWS` repeats; `NULL` takes it back.",
    examples=("COMMENT ON LAW chin IS 'Hoffmann et al., figure 4'; SELECT name, comment FROM (SHOW LAWS)",),
)


def _comment(reader: TokenReader) -> CommentLaw:
    start = reader.begin("COMMENT ON LAW")
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    reader.expect("IS", f"COMMENT ON LAW {name.text} IS 'text'")
    comment = None if reader.accept("NULL") else reader.value(Kind.STRING, "a text in quotes, or NULL")
    return CommentLaw(start, reader.end, name, comment)


def _comment_on_law_plan(question: Question, node: CommentLaw) -> Plan:
    from isoflop.queries.language.plans.manage import CommentPlan

    return CommentPlan(question, node)


COMMENT_ON_LAW = Verb(
    words="COMMENT ON LAW",
    is_statement=True,
    changes=True,
    rule="COMMENT ON LAW saved_law IS ( text | NULL )",
    node=CommentLaw,
    parse=_comment,
    plan=_comment_on_law_plan,
    page=_COMMENT_ON_LAW_PAGE,
    briefs=(Brief("note what a law is for", "COMMENT ON LAW chin IS 'the first sweep'"),),
)


_ALTER_LAW_PAGE = Page(
    purpose="Gives a law another name, with every version of it, its forecasts and its macro.",
    examples=("ALTER LAW brief RENAME TO short; SELECT name FROM (SHOW LAWS)",),
    mistakes=("ALTER LAW chin RENAME TO select",),
)


def _rename(reader: TokenReader) -> RenameLaw:
    start = reader.begin("ALTER LAW")
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    reader.expect("RENAME TO", f"ALTER LAW {name.text} RENAME TO …")
    return RenameLaw(start, reader.end, name, reader.name("the new name"))


def _alter_law_plan(question: Question, node: RenameLaw) -> Plan:
    from isoflop.queries.language.plans.manage import RenamePlan

    return RenamePlan(question, node)


ALTER_LAW = Verb(
    words="ALTER LAW",
    is_statement=True,
    changes=True,
    rule="ALTER LAW saved_law RENAME TO name",
    node=RenameLaw,
    parse=_rename,
    plan=_alter_law_plan,
    page=_ALTER_LAW_PAGE,
    briefs=(Brief("give a law another name", "ALTER LAW chin RENAME TO first_chin"),),
)


_DROP_LAW_PAGE = Page(
    purpose="Forgets a law with every version of it and its macro; its forecasts stay.",
    examples=("DROP LAW short; SELECT name FROM (SHOW LAWS)",),
    mistakes=("DROP LAW short",),
)


def _drop(reader: TokenReader) -> DropLaw:
    start = reader.begin("DROP LAW")
    if_exists = reader.accept("IF EXISTS")
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    return DropLaw(start, reader.end, name, if_exists)


def _drop_law_plan(question: Question, node: DropLaw) -> Plan:
    from isoflop.queries.language.plans.manage import DropPlan

    return DropPlan(question, node)


DROP_LAW = Verb(
    words="DROP LAW",
    is_statement=True,
    changes=True,
    rule="DROP LAW [ IF EXISTS ] saved_law",
    node=DropLaw,
    parse=_drop,
    plan=_drop_law_plan,
    page=_DROP_LAW_PAGE,
    briefs=(Brief("forget a law", "DROP LAW first_chin"),),
)
