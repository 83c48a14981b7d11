"""`isoflop design`: a short spelling of DESIGN, and the sweep file of the runs it chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, LawArgument

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer


def design(
    runs: Annotated[int, typer.Argument(metavar="N", help="How many runs.")],
    law: LawArgument,
    to: Annotated[
        list[str], typer.Argument(metavar="COLUMN=VALUE…", help="The forecast to narrow: params=7e10 tokens=1.4e12.")
    ],
    over: Annotated[
        list[str],
        typer.Option(
            "--over", metavar="RANGE", help="What may be chosen: 'params IN [1e8, 1e10] LOG', 'tokens = 20 * params'."
        ),
    ],
    subject_to: Annotated[
        list[str] | None,
        typer.Option("--subject-to", metavar="CONDITION", help="On each run, or with SUM(…) on all together."),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="An option: seed=0, level=0.9, time_law=step."),
    ] = None,
    sweep_file: Annotated[
        str | None, typer.Option("--sweep-file", metavar="FILE", help="Write the runs as a sweep file (YAML).")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="FAMILY", help="What the sweep trains [default: transformer].")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="FILE", help="A sweep file whose corpus, derived settings and limits it takes."),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Choose the runs that most narrow a law's forecast, within a budget.

    The statement this stands for is printed on stderr. A sweep file of the runs goes to isoflop sweep; where they
    name params instead of a transformer's shape, the shape is the one that comes closest.

      isoflop design 6 chin params=7e10 tokens=1.4e12 --over "params IN [1e7, 1e9] LOG"
        --over "tokens IN [1e8, 1e11] LOG" --subject-to "SUM(flops) <= 1e20" --sweep-file next.yaml

      isoflop sweep next.yaml --dry-run
    """
    from isoflop.cli.options import answer_statement, chosen_format
    from isoflop.lakehouse.errors import UsageError

    form = chosen_format(format, json)
    if sweep_file is None and (family or like):
        raise UsageError("--family and --like are about a sweep file", hint="--sweep-file next.yaml")
    if family and like:
        raise UsageError("--like says the family already; give one of the two")
    statement = design_statement(runs, law, to, over, subject_to=subject_to, options=with_)
    answer = answer_statement(statement, lake, form)
    if sweep_file is not None:
        write_sweep(_planned(answer), sweep_file, family or "transformer", like)


def design_statement(
    runs: int,
    law: str,
    to: list[str],
    over: list[str],
    *,
    subject_to: list[str] | None = None,
    options: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop design` stands for, one clause a line.

    Raises
    ------
    UsageError : for a target or an option without a value

    Example
    -------
    >>> print(design_statement(2, "chin", ["params=7e10"], ["params IN [1e8, 1e10] LOG"], options=["seed=1"]))
    DESIGN 2 RUNS FOR chin
    TO params = 7e10
    OVER params IN [1e8, 1e10] LOG
    WITH (seed = 1)
    """
    from isoflop.cli.fit import as_assignment, law_in_statement, with_clause

    lines = [
        f"DESIGN {runs} RUNS FOR {law_in_statement(law)}",
        f"TO {', '.join(as_assignment(each, 'isoflop design N LAW') for each in to)}",
        f"OVER {', '.join(over)}",
    ]
    if subject_to:
        lines.append(f"SUBJECT TO {', '.join(subject_to)}")
    lines += with_clause(options or [])
    return "\n".join(lines)


def _planned(answer: Answer) -> list[dict[str, float]]:
    """Return what DESIGN chose for each run, by name."""
    columns = answer.columns[1 : answer.columns.index("width_before")]
    return [{key: row[key] for key in columns if isinstance(row[key], int | float)} for row in answer.records()]


def write_sweep(points: Sequence[Mapping[str, float]], file: str, family: str, like: str | None) -> None:
    """Write planned runs as a sweep file, checked as `isoflop sweep` checks it.

    Parameters
    ----------
    points : what each run is to have, by name
    file : where; it must not exist
    family : that is trained
    like : a sweep file whose other keys are taken over

    Raises
    ------
    UsageError : when the file exists, or the runs name nothing that the family has
    FileError : when a run of it could not be trained
    """
    from pathlib import Path

    from isoflop.cli.output import note
    from isoflop.lakehouse.errors import UsageError
    from isoflop.workers.planned_sweep import check_plan, planned_sweep

    path = Path(file)
    if path.exists():
        raise UsageError(f"{path} exists, and a plan is not written over another", hint="choose another name")
    text = planned_sweep(points, name=path.stem, family=family, like=like)
    notes = check_plan(text, path, points)
    path.write_text(text, encoding="utf-8")
    note(f"{path}: {len(points)} runs; isoflop sweep {path} --dry-run says what they cost")
    for line in notes:
        note(line)
