"""What a report says of one law: formula, coefficients, health, forward check, residuals, forecasts, frontier."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.figure import Axis, Band, Figure, Line, Mark, PointMarks, floats
from isoflop.cli.plot.law_card import LawCard, is_published
from isoflop.cli.plot.law_figure import NO_RUNS, extent, law_figure, residual_figure, seen_runs
from isoflop.cli.plot.law_path import COMPUTE, FLOPS_PER_PARAM_TOKEN, choose_path, default_targets, middles
from isoflop.cli.plot.run_figures import identifier, number
from isoflop.cli.report.asking import Asker, parts_of
from isoflop.cli.report.content import Asked, Code, Drawn, Health, Missing, Part, Quoted, Section, Sentence
from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.sql.quoting import literal

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

NUM_AHEAD = 4  # places of the table of forecasts: the largest run, and one, two and three factors of ten beyond
DECADES_AHEAD = 3.0
FRONTIER = (1.0, 10.0, 100.0)  # budgets of the frontier, in those of the largest run
USUAL_BUDGETS = (1e21, 1e23, 1e25)  # [FLOP] where a law has no runs, so that none is the largest
ROOM = 1e3  # factor by which the frontier is searched beyond the sizes of the runs, at either end
LABELS = ("name", "family", "corpus")  # columns that tell a reader which run a row is, where they say anything
NUM_RESIDUALS = 8  # rows that lie farthest off

Sections = tuple[Section, ...]


def law_sections(lake: Lakehouse, law: LawCard, num_designed: int = 0) -> Sections:
    """Return the sections on a law; a part that it cannot have says why.

    Parameters
    ----------
    num_designed : runs to propose; 0 for none
    """
    asker, anchor = Asker(lake), f"law-{_slug(law.name)}"
    pictures = parts_of("picture of the law", lambda: (_picture(lake, law),))
    inner = [
        ("fit", "How far to trust the fit", (Health(law.status, law.notes), *_coefficients(asker, law))),
        ("check", "Forward check", parts_of("forward check", lambda: _forward_check(asker, law))),
        ("residuals", "Residuals", parts_of("residuals", lambda: _residuals(asker, law))),
        ("ahead", "Beyond the runs", parts_of("extrapolation", lambda: (_ahead(asker, law),))),
        ("frontier", "Compute frontier", parts_of("compute frontier", lambda: _frontier(asker, law))),
    ]
    if num_designed:
        inner.append(("next", "Next runs", parts_of("next runs", lambda: _next_runs(asker, law, num_designed))))
    head = (*parts_of("facts of the law", lambda: _facts(asker, law)), *pictures)
    return (
        Section(anchor, f"Law {law.name}", head),
        *(Section(f"{anchor}-{name}", title, parts, is_inner=True) for name, title, parts in inner),
    )


def _slug(name: str) -> str:
    """Return a name as an anchor, one to one: letters and digits stay, all else is written as its code.

    Example
    -------
    >>> _slug("chin_2"), _slug("a b"), _slug("<b>")
    ('chin-5f2', 'a-20b', '-3cb-3e')
    """
    return "".join(each if each.isascii() and each.isalnum() else f"-{ord(each):x}" for each in name)


def _facts(asker: Asker, law: LawCard) -> tuple[Part, ...]:
    if is_published(law.name):
        name = literal(law.name.partition(":")[2])
        statement = f"SELECT name, form, target, source, about\nFROM (SHOW PUBLISHED LAWS) WHERE name = {name}"
        return (asker.ask("Law of a paper", statement, is_on_side=True),)
    columns = "form, formula, target, inputs, rows, dropped, status, support, residual_scale"
    fitted = ",\n    (diagnosis->>'r2')::DOUBLE AS r2, (diagnosis->>'rmse_log')::DOUBLE AS rmse_log"
    statement = (
        f"SELECT {columns}{'' if law.is_given else fitted}\n"
        f"FROM laws WHERE name = {literal(law.name)} AND version = {law.version}"
    )
    made = (Code("Made by", law.statement.strip().rstrip(";")),) if law.statement else ()
    return (asker.ask("Formula and rows", statement, is_on_side=True), *made)


def _coefficients(asker: Asker, law: LawCard) -> tuple[Part, ...]:
    statement = (
        "SELECT coefficient, estimate, std_error, lower, upper, level, at_bound, unit, stale\n"
        f"FROM (DESCRIBE LAW {law.sql_name})"
    )

    def described() -> tuple[Part, ...]:
        asked = replace(asker.ask("Coefficients", statement), notes=())  # its health says them, with what to do
        if not any(row["stale"] for row in asked.answer.records()):
            return (asked,)
        return (Sentence((f"The rows have changed since; REFIT LAW {law.sql_name} fits them as they are now.",)), asked)

    return parts_of("coefficients", described)


def _picture(lake: Lakehouse, law: LawCard) -> Drawn:
    caption = "The law and its runs" if not law.is_given else "The law over what is usually trained"
    return Drawn(caption, law_figure(lake, law))


def _forward_check(asker: Asker, law: LawCard) -> tuple[Part, ...]:
    if law.is_given:
        return (Missing("forward check", NO_RUNS),)
    by = " * ".join(map(identifier, law.compute or law.inputs[:1]))
    asked = asker.ask(
        "Fitted to the smaller rows, judged on the largest fifth",
        "SELECT n_train, n_test, train_max, test_max, mape, bias, coverage, status\n"
        f"FROM (CROSS VALIDATE {law.sql_name} HOLDOUT LARGEST 20 PERCENT BY {by})",
    )
    row = asked.answer.records()[0]
    words: list[str | Quoted] = ["Fitted to the ", Quoted(asked, "n_train"), " smaller rows, the law predicts the "]
    words += [Quoted(asked, "n_test"), " largest with a mean error of ", Quoted(asked, "mape"), " of the value"]
    if row["coverage"] is not None:
        words += ["; its interval holds a share of ", Quoted(asked, "coverage"), " of them"]
    return (Sentence((*words, ".")), asked)


def _residuals(asker: Asker, law: LawCard) -> tuple[Part, ...]:
    if law.is_given:
        return (Missing("residuals", NO_RUNS),)
    figure = residual_figure(asker.lake, law)
    rows = asker.lake.sql(f"RESIDUALS {law.sql_name}")
    labels = [name for name in LABELS if name in rows.columns and rows.table.column(name).null_count < len(rows)]
    chosen = ", ".join(map(identifier, dict.fromkeys((*labels, *law.inputs, law.target))))
    asked = asker.ask(
        "Rows that lie farthest off",
        f"SELECT {chosen}, {identifier(law.predicted)}, residual, std_residual\n"
        f"FROM (RESIDUALS {law.sql_name}) ORDER BY abs(std_residual) DESC NULLS LAST, abs(residual) DESC"
        f" LIMIT {NUM_RESIDUALS}",
    )
    return (Drawn("What the law leaves unexplained", figure), asked)


def _ahead(asker: Asker, law: LawCard) -> Asked:
    """Ask the law at the largest run and beyond, on the way that its picture takes."""
    _, rows = seen_runs(asker.lake, law)
    path = choose_path(law, rows)
    first, last = extent(path, path.positions(rows))
    low, high = (first, last) if law.is_given else (last, last * 10**DECADES_AHEAD)
    compute = ""
    if path.is_compute and law.compute is not None:
        size, amount = map(identifier, law.compute)
        compute = f"{FLOPS_PER_PARAM_TOKEN:g} * {size} * {amount} AS flops, "
    selected = (
        f"SELECT {compute}{', '.join(map(identifier, (*law.inputs, law.predicted)))}, lower, upper, level, in_support"
    )

    def asked(query: str) -> Asked:
        return asker.ask(f"What it foretells: {path.phrase}", f"{selected}\nFROM ({query})", units=_units(law))

    try:
        return asked(path.statement(low, high, law.level, NUM_AHEAD))
    except StatementError:
        if not path.is_compute:
            raise
    path = choose_path(law, rows, COMPUTE, is_optimal=False)
    return asked(path.statement(low, high, law.level, NUM_AHEAD))


def _units(law: LawCard) -> dict[str, str | None]:
    """Return the units of what a law predicts and of the ends of its interval."""
    return dict.fromkeys((law.predicted, "lower", "upper"), law.unit)


def _frontier(asker: Asker, law: LawCard) -> tuple[Part, ...]:
    if law.compute is None:
        return (Missing("compute frontier", "it takes a law of the size of a model and of its data"),)
    size, amount = law.compute
    _, rows = seen_runs(asker.lake, law)
    if law.is_given:
        budgets = list(USUAL_BUDGETS)
    else:
        largest = float(np.nanmax(FLOPS_PER_PARAM_TOKEN * rows[size] * rows[amount]))
        budgets = [float(f"{largest * factor:.1e}") for factor in FRONTIER]
    ranges = [
        f"{identifier(name)} IN [{low / ROOM:.1e}, {high * ROOM:.1e}] LOG"
        for name, (low, high) in ((each, law.support[each]) for each in law.compute)
    ]
    middle = middles(rows)
    ranges += [f"{identifier(name)} = {number(middle[name])}" for name in law.inputs if name not in law.compute]
    ends = [identifier(f"{name}_{end}") for name in law.compute for end in ("lower", "upper")]
    columns = [*map(identifier, law.compute), *([] if law.is_given else ends), identifier(law.predicted)]
    asked = asker.ask(
        "Best size and data for a budget [FLOP]",
        f"SELECT budget, {', '.join(columns)}, lower, upper, status\n"
        f"FROM (OPTIMIZE {law.sql_name} OVER {', '.join(ranges)}\n"
        f"    SUBJECT TO {FLOPS_PER_PARAM_TOKEN:g} * {identifier(size)} * {identifier(amount)} <= budget\n"
        f"    FOR EACH budget IN [{', '.join(map(number, budgets))}])",
        units={"budget": "FLOP", **_units(law)},
    )
    return (Drawn("Best size and data by budget", _frontier_figure(asked, law)), asked)


def _frontier_figure(asked: Asked, law: LawCard) -> Figure:
    assert law.compute is not None
    records = [row for row in asked.answer.records() if row["status"] == "optimal"]
    budget = floats([row["budget"] for row in records])
    marks: list[Mark] = []
    for name, tone in zip(law.compute, (0.1, 0.8), strict=True):
        best = floats([row[name] for row in records])
        lower, upper = (floats([_known(row.get(f"{name}_{end}")) for row in records]) for end in ("lower", "upper"))
        if np.isfinite(lower).any():
            marks.append(Band(budget, lower, upper, f"interval of {name}"))
        marks += [Line(budget, best, name, tone), PointMarks(budget, best, "", tone)]
    axis = Axis("training compute", "FLOP", notation="power")
    return Figure(
        f"{law.name} · compute frontier",
        axis,
        Axis(" and ".join(law.compute), "count"),
        tuple(marks),
        (asked.statement,),
    )


def _range(name: str, low: float, high: float) -> str:
    """Return what DESIGN may choose an input from: its values among the rows."""
    if low == high:
        return f"{identifier(name)} = {number(low)}"
    return f"{identifier(name)} IN [{low:.6g}, {high:.6g}]{' LOG' * (low > 0)}"


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _next_runs(asker: Asker, law: LawCard, num_designed: int) -> tuple[Part, ...]:
    if law.is_given:
        return (Missing("next runs", f"{NO_RUNS}, and nothing says how much another would narrow"),)
    if re.search(r"\bOPTIMUM\s+OF\b", law.statement, re.IGNORECASE):
        return (Missing("next runs", "its rows are optima of cells, which no single run adds to"),)
    ranges = [_range(name, low, high) for name, (low, high) in law.support.items()]
    limit = ""
    if law.compute is not None:
        _, rows = seen_runs(asker.lake, law)
        size, amount = law.compute
        largest = float(np.nanmax(FLOPS_PER_PARAM_TOKEN * rows[size] * rows[amount]))
        limit = (
            f"\n    SUBJECT TO {FLOPS_PER_PARAM_TOKEN:g} * {identifier(size)} * {identifier(amount)} <= {largest:.2g}"
        )
    target = ", ".join(f"{identifier(name)} = {value}" for name, value in default_targets(law).items())
    asked = asker.ask(
        "Runs no larger than those there are, which most narrow what the law says ten times beyond",
        f"SELECT run, {', '.join(map(identifier, (*law.inputs, law.predicted)))}, width_before, width_after, ratio\n"
        f"FROM (DESIGN {num_designed} RUN{'S' * (num_designed != 1)} FOR {law.sql_name} TO {target}\n"
        f"    OVER {', '.join(ranges)}{limit})",
    )
    return (asked,)
