"""`isoflop shell`: statements one after another, typed or piped in."""

from __future__ import annotations

import sys

from isoflop.cli.options import FormatOption, LakeOption, ReadOnlyOption


def shell(lake: LakeOption = None, format: FormatOption = None, read_only: ReadOnlyOption = False) -> None:
    """Ask statements one after another, with completion and history.

    Statements end with a semicolon; .help shows the verbs and the commands that start with a dot. Temporary tables,
    SET, USE, ATTACH, PREPARE and BEGIN … COMMIT last until the end; Ctrl-C stops a statement. Piped statements are
    answered in order, and the first error stops.

      isoflop shell

      isoflop shell --lake demo.duckdb < questions.sql

      isoflop shell --read-only
    """
    from isoflop.cli.conversation import Conversation
    from isoflop.cli.options import chosen_format, open_lake

    form = chosen_format(format)
    with open_lake(lake, read_only=read_only) as opened, Conversation(opened, form) as conversation:
        if sys.stdin.isatty():
            from isoflop.cli.prompt import converse

            converse(conversation)
        else:
            conversation.run_lines(sys.stdin)
