"""Makes docs/language.md: for each verb its purpose, grammar, options, columns, and examples that are run here.

What is said of a verb comes from its record in `queries/language/verbs/`, of options from
`queries/language/options.py`. Examples are answered by a lake that holds the published Chinchilla runs.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import railroad

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.answers import plain
from isoflop.lakehouse.errors import IsoflopError
from isoflop.lakehouse.exchange.formats import import_path
from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.language import verbs as language
from isoflop.queries.language.functions import TABLE_FUNCTIONS, TableFunction
from isoflop.queries.language.options import describe_option
from isoflop.queries.language.syntax.grammar import SLICES
from isoflop.queries.language.verb import Page, Verb

FIGURES = "figures/grammar"
HEAD = """# The language

Plain DuckDB SQL passes through untouched. The verbs below are relations: each is a statement, or stands wherever a
query may: in `FROM (…)`, in a join, in a CTE and behind its `WITH` list, in `CREATE TABLE … AS`, in `COPY (…) TO`,
in another verb's `FROM (…)`. What changes laws (`CREATE LAW`, `ALTER LAW`, `COMMENT ON LAW`, `DROP LAW`) is a statement
of its own. A word is a verb only where a query may begin and only when what follows reads like its clause, so columns
and tables called `fit`, `law` or `predict` keep working.

```sql
FIT loss ~ chinchilla(params, tokens) FROM runs;
SELECT params, lower, upper FROM (EXTRAPOLATE chin TO params = [1e11, 1e12], tokens = 20 * params);
WITH large AS (FROM runs WHERE params > 1e9) RESIDUALS chin FROM large;
CREATE TABLE frontier AS OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG
    SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e20, 1e21, 1e22];
COPY (PREDICT chin FROM runs) TO 'predicted.parquet';
```

A verb is answered once, before the query around it, so it cannot read that query's rows (`LATERAL`) and cannot be kept
as text in a view, a macro or a prepared statement; `CREATE TABLE … AS` keeps its answer. For a law over a query's rows
there is its macro, `chin(params, tokens)`; what its fit has found against it is said below the answer, once, and where
its arguments are numbers also how far beyond its rows they lie (`PREDICT` says it of columns). `$name`, `$1` and `?`
are parameters anywhere in a statement, inside a verb or around it.

In a verb a size may be written as people write it: `70B`, `1.4T`, `400M`, `2K` (also `G` and `P`) are `70e9`, `1.4e12`
and so on, the letter right behind the number. A query in parentheses is plain SQL, where `SELECT 70B` is a 70 called B.

A column may be named without `AS` by any word that is not reserved, also by those that DuckDB uses elsewhere:
`SELECT min(loss) first, max(step) last`.

An error is DuckDB's own, or looks like one: class, message, the line with a caret, a hint with the nearest name.

This page is written by `python docs/build.py`, which runs its examples on `isoflop import published:chinchilla_epoch`
and draws its figures. In these, round boxes are typed as they are, square ones are described [below](#parts), and
a line that runs back below a box may be followed again.
"""


class Asked:
    """A lake with published runs that answers as text.

    Parameters
    ----------
    lake : what is asked
    """

    def __init__(self, lake: Lakehouse) -> None:
        self.lake = lake
        import_path(lake, find_published("chinchilla_epoch"))

    def __call__(self, text: str) -> str:
        """Return what a person sees of a statement's answer, or its error."""
        try:
            answer = self.lake.sql(text)
        except (IsoflopError, duckdb.Error) as error:
            return str(error)
        cells = [answer.columns, *([plain(value) for value in row] for row in answer.rows())]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        notes = [line for note in answer.notes for line in textwrap.wrap(f"note: {note}", 118, subsequent_indent="  ")]
        return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:], *notes])


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def written(text: str) -> str:
    """Return a rule as it is written, in lines that fit a page and split no brackets if they can help it."""
    tidy = re.sub(r"([\[({]) | ([\])}])", r"\1\2", text)
    whole = re.sub(r"\{[^{}]*\}|\[[^\[\]{}()]*\]", lambda found: found[0].replace(" ", "\0"), tidy)
    lines = textwrap.wrap(whole, 112, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def link(verb: Verb[Any]) -> str:
    """Return a link to a verb's part of the page."""
    return f"[{verb.words}](#{verb.words.lower().replace(' ', '-')})"


def described_option(page: Page, key: str) -> tuple[str, str, str]:
    """Return the default, the values and the meaning of an option of a verb."""
    default, values, meaning = describe_option(key)
    return page.defaults.get(key, default), values, meaning


def described(verb: Verb[Any]) -> list[str]:
    """Return the options and the columns of a verb; where they are those of an earlier verb, a link to it."""
    page = verb.page
    before = language.VERBS[: language.VERBS.index(verb)]
    parts = []
    same = next((one for one in before if (one.page.options, one.page.defaults) == (page.options, page.defaults)), None)
    if page.options and same is not None:
        parts.append(f"Options are those of {link(same)}: {', '.join(f'`{key}`' for key in page.options)}.")
    elif page.options:
        rows = [(f"`{key}`", *described_option(page, key)) for key in page.options]
        parts.append(table(("option", "default", "values", "meaning"), rows))
    same = next((each for each in before if each.page.columns == page.columns), None)
    if page.columns and same is not None:
        parts.append(f"Columns are those of {link(same)}.")
    elif page.columns:
        rows = [(f"`{key}`" if " " not in key else f"*{key}*", meaning) for key, meaning in page.columns.items()]
        parts.append(table(("column", "meaning [unit]"), rows))
    else:
        parts.append("It answers with no rows; a note says what was done.")
    return parts


def section(verb: Verb[Any], ask: Asked) -> str:
    """Return the part about one verb."""
    name, page = verb.words, verb.page
    parts = [
        f"## {name}",
        "\n\n".join(textwrap.fill(each, 118, break_long_words=False) for each in page.purpose.split("\n\n")),
        f"![railroad diagram of {name}]({FIGURES}/{verb.key}.svg)",
        f"```ebnf\n{written(f'{verb.key} = {verb.rule}')}\n```",
    ]
    parts += described(verb)
    for example in page.examples:
        parts.append(f"```sql\n{example}\n```\n\n```text\n{ask(example)}\n```")
    if page.mistakes:
        told = "\n\n".join(ask(mistake) for mistake in page.mistakes)
        parts.append(f"Errors, each with its caret in what was typed:\n\n```text\n{told}\n```")
    return "\n\n".join(parts)


FUNCTIONS = """## Table functions

What a theory says without runs stands where a table does: behind `FROM` and `JOIN`, in any query, also in that of a
verb. Arguments are numbers, or lists, of which every combination is a row; `name := value` gives one by its name. One
argument alone is a query, or the name of a table, with columns called like the arguments: each of its rows is a row,
and its other columns stay. A call is answered before the query around it, as a verb is: it takes no columns of that
query and cannot be kept in a view, and one call has at most 100,000 rows. A table macro of the lake that is called so
goes first. [theories.md](theories.md) derives them.
"""


def function_section(function: TableFunction, ask: Asked) -> str:
    """Return the part about one table function."""
    arguments = [
        (f"`{each.name}`" + (" (optional)" if each.is_optional else ""), each.meaning) for each in function.arguments
    ]
    parts = [
        f"### {function.name}",
        textwrap.fill(f"{function.purpose} {function.source}.", 118, break_long_words=False),
        f"```sql\nFROM {function.usage}\n```",
        table(("argument", "meaning [unit]"), arguments),
        table(("column", "meaning [unit]"), [(f"`{name}`", meaning) for name, meaning in function.columns.items()]),
    ]
    parts += [f"```sql\n{example}\n```\n\n```text\n{ask(example)}\n```" for example in function.examples]
    told = "\n\n".join(ask(mistake) for mistake in function.mistakes)
    if told:
        parts.append(f"Errors, each with its caret in what was typed:\n\n```text\n{told}\n```")
    return "\n\n".join(parts)


def parts_section() -> str:
    """Return the part about what rules share."""
    found = ["## Parts"]
    for name, text in language.grammar().parts.items():
        found.append(f"### {name}")
        found.append(f"![railroad diagram of {name}]({FIGURES}/{name}.svg)")
        found.append(f"```ebnf\n{written(f'{name} = {text}')}\n```")
    found.append("### What DuckDB reads, and names")
    found.append(table(("in a rule", "stands for"), [(f"`{name}`", text) for name, text in SLICES.items()]))
    return "\n\n".join(found)


def page() -> str:
    """Return the whole page."""
    with tempfile.TemporaryDirectory() as folder, isoflop.open(Path(folder) / "runs.duckdb") as lake:
        ask = Asked(lake)
        brief = language.CREATE_LAW.page.sample
        ask(brief)
        sections = [section(verb, ask) for verb in language.VERBS]
        functions = [function_section(function, ask) for function in TABLE_FUNCTIONS]
    contents = [
        f"- {link(verb)}: " + re.split(r"(?<=[.;:])\s", verb.page.purpose)[0].rstrip(".;:") for verb in language.VERBS
    ]
    names = ", ".join(f"[`{function.name}`](#{function.name})" for function in TABLE_FUNCTIONS)
    contents.append(f"- [Table functions](#table-functions): {names}")
    return (
        "\n\n".join([HEAD.rstrip(), "\n".join(contents), *sections, FUNCTIONS.rstrip(), *functions, parts_section()])
        + "\n"
    )


def figures() -> dict[str, str]:
    """Return the drawings of the rules by file name."""
    grammar = language.grammar()
    return {
        f"{FIGURES}/{name}.svg": railroad.draw(grammar.rule(name), f"{name} = {text}")
        for name, text in grammar.rules.items()
    }
