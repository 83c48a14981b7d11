"""What the shell says about each verb: what it does, and one statement that can be typed as it is.

The examples are over the runs of any lake and build on one another from top to bottom.
"""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb of the language.

    Parameters
    ----------
    name : as it is typed
    meaning : what it does, in a few words
    example : a statement, without its semicolon
    """

    name: str
    meaning: str
    example: str


VERBS = (
    Verb("FIT", "fit a law, or a formula of your own, to rows", "FIT loss ~ chinchilla(params, tokens) FROM runs"),
    Verb(
        "EXPLAIN FIT",
        "say how a fit would be made, without making it",
        "EXPLAIN FIT loss ~ chinchilla(params, tokens) FROM runs",
    ),
    Verb(
        "CREATE LAW",
        "fit a law and keep it; it is an SQL function from then on",
        "CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs",
    ),
    Verb(
        "CREATE OR REPLACE LAW",
        "keep a new version of a law",
        "CREATE OR REPLACE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE loss > 0",
    ),
    Verb("REFIT LAW", "fit a law again to the runs there are now", "REFIT LAW chin"),
    Verb("SHOW LAWS", "list the laws of the lake", "SHOW LAWS"),
    Verb("SHOW LAW FORMS", "list the forms that can be fitted by name", "SHOW LAW FORMS"),
    Verb("DESCRIBE LAW", "show a law's coefficients with their intervals", "DESCRIBE LAW chin"),
    Verb("COMMENT ON LAW", "note what a law is for", "COMMENT ON LAW chin IS 'the first sweep'"),
    Verb(
        "EXTRAPOLATE",
        "say what a law expects, with its interval",
        "EXTRAPOLATE chin TO params = [1e11, 1e12], tokens = 20 * params",
    ),
    Verb(
        "FORECAST",
        "the same, kept and scored when the runs land",
        "FORECAST chin TO params = 1e11, tokens = 20 * params",
    ),
    Verb("SHOW FORECASTS", "list the forecasts and what came of them", "SHOW FORECASTS"),
    Verb("PREDICT", "put the law's value beside each row", "PREDICT chin FROM runs"),
    Verb("RESIDUALS", "show what the law leaves unexplained", "RESIDUALS chin FROM runs"),
    Verb(
        "CROSS VALIDATE",
        "judge a law on rows it has not seen",
        "CROSS VALIDATE chin FROM runs HOLDOUT LARGEST 20 PERCENT BY params",
    ),
    Verb(
        "COMPARE",
        "rank laws on the same rows",
        "COMPARE chin, (loss ~ power(params)) FROM runs HOLDOUT LARGEST 20 PERCENT BY params",
    ),
    Verb(
        "COMPARE APPROACHES",
        "rank ways to find the best sizes for a budget",
        "COMPARE APPROACHES FROM runs AT flops = [1e21, 1e22]",
    ),
    Verb(
        "EXTRAPOLATE AVERAGE OF",
        "what several laws expect together",
        "EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs TO params = 1e12, tokens = 2e13",
    ),
    Verb(
        "OPTIMIZE",
        "choose inputs under a constraint",
        "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
        "SUBJECT TO 6 * params * tokens <= 1e22",
    ),
    Verb(
        "DESIGN",
        "choose the runs to train next, those that most narrow a forecast",
        "DESIGN 3 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10] LOG, "
        "tokens = 20 * params SUBJECT TO SUM(flops) <= 1e22",
    ),
    Verb(
        "EXPLAIN ANALYZE",
        "run a verb and say what it did and how long that took",
        "EXPLAIN ANALYZE EXTRAPOLATE chin TO params = 1e11, tokens = 20 * params",
    ),
    Verb("ALTER LAW", "give a law another name", "ALTER LAW chin RENAME TO first_chin"),
    Verb("DROP LAW", "forget a law", "DROP LAW first_chin"),
)

# Names whose rule in the grammar is called otherwise.
_RULES = {
    "EXPLAIN FIT": "fit",
    "CREATE OR REPLACE LAW": "create_law",
    "EXTRAPOLATE AVERAGE OF": "extrapolate_average",
}

CLAUSES = {
    "PARAMETERS": "declare the free numbers of a formula",
    "WEIGHT BY": "weight of each row",
    "HOLDOUT LARGEST": "judge on the largest rows",
    "KFOLD": "judge on parts in turn",
    "LEAVE ONE OUT": "judge on each row in turn",
    "PERCENT": "a share of the rows",
    "INIT": "start a coefficient here",
    "FIXED": "keep a coefficient at a value",
    "MINIMIZE": "what is to be small",
    "MAXIMIZE": "what is to be large",
    "OVER": "what can be chosen",
    "SUBJECT TO": "what has to hold",
    "FOR EACH": "once for each value",
    "RUNS FOR": "the law whose forecast is to be narrowed",
    "AT flops": "the budgets to say the best sizes for",
}

COMMANDS = {
    ".help": "the verbs; .help FIT for one of them",
    ".tables": "tables and views",
    ".laws": "saved laws",
    ".plot": "draw a law, a run, or the last answer",
    ".format": "table, json, csv, arrow or markdown",
    ".timing": "on or off: say how long an answer took",
    ".pager": "on or off: show long answers a page at a time",
    ".read": "run the statements of a file",
    ".quit": "leave (or Ctrl-D)",
}


def overview() -> str:
    """Return every verb with an example, and every command."""
    verbs = "\n".join(f"  {verb.name:<24}{verb.meaning}\n    {verb.example};" for verb in VERBS)
    commands = "\n".join(f"  {name:<24}{meaning}" for name, meaning in COMMANDS.items())
    return (
        "Statements end with a semicolon and may span lines; Ctrl-C stops one. DuckDB's SQL works as it is,\n"
        f"and temporary tables, SET, ATTACH and BEGIN … COMMIT last until you leave. Beside it:\n\n{verbs}\n\n"
        f"{commands}\n\n.help EXTRAPOLATE shows the options of a verb."
    )


def help_on(name: str) -> str | None:
    """Return what one verb does, an example, and its options; None when there is no such verb."""
    wanted = " ".join(name.upper().split())
    found = [verb for verb in VERBS if verb.name == wanted] or [verb for verb in VERBS if verb.name.startswith(wanted)]
    if not wanted or not found:
        return None
    lines = []
    for verb in found:
        lines += [f"{verb.name}: {verb.meaning}", "", f"  {verb.example};", ""]
    options = options_of(found[0].name)
    if options:
        lines.append("WITH (key = value, …):")
        lines += [f"  {key:<12}{meaning}" for key, meaning in options.items()]
    return "\n".join(lines).rstrip()


def options_of(name: str) -> dict[str, str]:
    """Return the options of a verb with their meaning, as the reference has them."""
    from isoflop.queries.language.options import describe_option
    from isoflop.queries.language.reference import PAGES

    rule = _RULES.get(name, name.lower().replace(" ", "_"))
    keys = next((page.options for page in PAGES if page.verb == rule), ())
    return {key: describe_option(key)[2].replace("`", "") for key in keys}
