"""The command `isoflop`: one function for each subcommand, each in a module of its own.

Answers go to stdout, notes and errors to stderr. Exit codes: 0 answered, 1 the question failed,
2 usage, 3 lake unreadable, 4 a run failed, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoflop.cli.calibrate import calibrate
from isoflop.cli.compare import compare
from isoflop.cli.coordcheck import coordcheck
from isoflop.cli.crossval import crossval
from isoflop.cli.demo.command import demo
from isoflop.cli.design import design
from isoflop.cli.export import export
from isoflop.cli.extrapolate import extrapolate
from isoflop.cli.fit import fit
from isoflop.cli.forecast import forecast
from isoflop.cli.import_ import import_
from isoflop.cli.lake import lake_app
from isoflop.cli.laws import laws
from isoflop.cli.logs import logs
from isoflop.cli.optimize import optimize
from isoflop.cli.optimum import optimum
from isoflop.cli.plot.command import plot
from isoflop.cli.predict import predict
from isoflop.cli.report.command import report
from isoflop.cli.residuals import residuals
from isoflop.cli.runs import runs
from isoflop.cli.shell import shell
from isoflop.cli.sql import sql
from isoflop.cli.status import status
from isoflop.cli.stop import stop
from isoflop.cli.studies.command import study
from isoflop.cli.submit import submit
from isoflop.cli.sweep import sweep
from isoflop.cli.tui.command import tui

HELP = """The lakehouse for neural scaling laws: train, store, fit, extrapolate.

A sweep file goes in, runs land in a lake, laws come out, and every step is SQL.

\b
  isoflop demo                             the whole way, on this machine
  isoflop sweep sweep.yaml                 train and time the runs of a file
  isoflop import runs.csv --map params=N   take in runs from elsewhere
  isoflop sql "FIT loss ~ chinchilla(params, tokens) FROM runs"
  isoflop tui                              look at runs, laws and forecasts
"""

AFTER_THE_COMMAND = ("--lake", "-l", "--format", "-f", "--json", "--read-only")  # options that every command has
INTERRUPTED = 130  # exit status of Ctrl-C, 128 + SIGINT

app = typer.Typer(
    help=HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip

SECTIONS = {
    "train": (demo, study, sweep, submit, status, logs, stop, calibrate, coordcheck),
    "ask": (
        sql,
        shell,
        fit,
        compare,
        crossval,
        extrapolate,
        forecast,
        predict,
        residuals,
        optimize,
        optimum,
        design,
        laws,
        runs,
    ),
    "see": (tui, plot, report),
}

for functions in SECTIONS.values():
    for function in functions:
        app.command(function.__name__)(function)
app.command("import")(import_)
app.command("export")(export)
app.add_typer(lake_app, name="lake")


def _version(wanted: bool) -> None:
    if wanted:
        from isoflop.lakehouse.runs.provenance import code_version

        print(f"isoflop {code_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the subcommand."""


options.__doc__ = HELP


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        code = app(standalone_mode=False, prog_name="isoflop")
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, `head` perhaps, has seen enough
        sys.exit(0)
    except Exception as error:
        sys.exit(_report(error))
    if code == INTERRUPTED:  # Typer has taken Ctrl-C for itself
        print("interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: Exception) -> int:
    """Print an error a user can act on and return its exit code; anything else is a bug and keeps its traceback."""
    import io
    import traceback

    from isoflop.cli.output import note
    from isoflop.lakehouse.errors import IsoflopError

    if hasattr(error, "exit_code") and hasattr(error, "show"):  # a wrong option or argument
        shown = io.StringIO()
        error.show(file=shown)
        option = getattr(error, "option_name", None)
        if option in AFTER_THE_COMMAND and sys.argv[1].partition("=")[0] == option:
            shown.write(f"Hint: {option} comes after the command: isoflop runs {option} …\n")
        note(shown.getvalue(), end="")
        return int(error.exit_code)
    if isinstance(error, IsoflopError):
        note(_labeled(str(error)))
        return error.exit_code
    if type(error).__module__ == "_duckdb":
        note(str(error))
        return 1
    if isinstance(error, OSError) and error.errno is not None:
        note(f"error: {error.strerror}: {error.filename or ''}")
        return 3
    note("".join(traceback.format_exception(error)), end="")
    return 1


def _labeled(text: str) -> str:
    return text if " Error: " in text.partition("\n")[0] else f"error: {text}"
