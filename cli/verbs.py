"""What the shell says about each verb: what it does, and one statement that can be typed as it is.

The examples are over the runs of any lake and build on one another from top to bottom.
"""

from __future__ import annotations

from typing import NamedTuple

from isoflop.queries.language import verbs as language


class Shown(NamedTuple):
    """A verb as the shell shows it.

    Parameters
    ----------
    name : as it is typed
    meaning : what it does, in a few words
    example : a statement, without its semicolon
    options : keys of its WITH list
    """

    name: str
    meaning: str
    example: str
    options: tuple[str, ...]


def shown() -> tuple[Shown, ...]:
    """Return the verbs of the language, in the order of its reference."""
    return tuple(
        Shown(brief.words or verb.words, brief.meaning, brief.example, verb.page.options)
        for verb in language.VERBS
        for brief in verb.briefs
    )


def clauses() -> dict[str, str]:
    """Return the keywords inside verbs, with what they mean."""
    return {name: meaning for verb in language.VERBS for name, meaning in verb.clauses.items()}


COMMANDS = {
    ".help": "the verbs; .help FIT for one of them",
    ".tables": "tables and views",
    ".laws": "saved laws",
    ".plot": "draw a law, a run, or the last answer",
    ".mode": "how answers are printed: table, lines, json, csv, arrow or markdown; alone it says which",
    ".timing": "on or off: say how long an answer took",
    ".pager": "on or off: show long answers a page at a time",
    ".read": "run the statements of a file",
    ".quit": "leave (or Ctrl-D)",
}


def overview() -> str:
    """Return every verb with an example, and every command."""
    verbs = "\n".join(f"  {verb.name:<24}{verb.meaning}\n    {verb.example};" for verb in shown())
    commands = "\n".join(f"  {name:<24}{meaning}" for name, meaning in COMMANDS.items())
    return (
        "Statements end with a semicolon and may span lines; Ctrl-C stops one. DuckDB's SQL works as it is,\n"
        f"and temporary tables, SET, ATTACH and BEGIN … COMMIT last until you leave. Beside it:\n\n{verbs}\n\n"
        f"{commands}\n\n.help EXTRAPOLATE shows the options of a verb."
    )


def help_on(name: str) -> str | None:
    """Return what one verb does, an example, and its options; None when there is no such verb."""
    wanted = " ".join(name.upper().split())
    verbs = shown()
    found = [verb for verb in verbs if verb.name == wanted] or [verb for verb in verbs if verb.name.startswith(wanted)]
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

    keys = next((verb.options for verb in shown() if verb.name == name), ())
    return {key: describe_option(key)[2].replace("`", "") for key in keys}
