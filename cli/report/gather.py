"""Collects a report from a lake: runs, laws, forecasts, next runs, and where all of it comes from."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from isoflop.cli.plot.law_card import LawCard, is_published, read_law, read_laws
from isoflop.cli.plot.run_figures import curves_figure, select_runs
from isoflop.cli.report.asking import Asker, parts_of
from isoflop.cli.report.content import Asked, Drawn, Missing, Part, Quoted, Report, Section, Sentence
from isoflop.cli.report.law_sections import law_sections
from isoflop.lakehouse.errors import EmptySelection
from isoflop.lakehouse.sql.cancellation import OnProgress, Progress
from isoflop.lakehouse.sql.quoting import literal

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

MOST_CURVE_POINTS = 6_000  # of one picture: more cannot be told apart on 1,600 pixels, and a page keeps them all
MOST_FAMILIES = 4  # pictures of curves; losses of several families are not drawn together

RUNS = """\
SELECT family, source, status, count(*) AS runs, min(params) AS params_from, max(params) AS params_to,
    min(tokens) AS tokens_from, max(tokens) AS tokens_to, sum(flops) AS flops, min(loss) AS lowest_loss
FROM runs GROUP BY family, source, status ORDER BY family, source, status"""

RUNS_UNITS = {f"{name}_{end}": "count" for name in ("params", "tokens") for end in ("from", "to")}

FAMILIES = f"""\
SELECT family, count(DISTINCT run_id) AS runs FROM curves WHERE loss IS NOT NULL
GROUP BY family ORDER BY runs DESC, family LIMIT {MOST_FAMILIES}"""


def gather(
    lake: Lakehouse,
    names: Sequence[str],
    *,
    title: str | None = None,
    num_designed: int = 0,
    progress: OnProgress | None = None,
) -> Report:
    """Return the report on some laws of a lake, or on all.

    Parameters
    ----------
    names : of laws, saved or `published:…`; none takes every saved law
    title : of the page; by default it names the lake
    num_designed : runs to propose for each law; 0 leaves the section out
    progress : is told how many laws are done

    Raises
    ------
    UsageError : if there is no law of one of the names
    EmptySelection : if the lake has neither runs nor laws
    """
    every = sorted(read_laws(lake), key=lambda law: law.name)
    cards = [read_law(lake, name) for name in dict.fromkeys(names)] if names else every
    if not cards and not lake.query("SELECT 1 FROM runs LIMIT 1").num_rows:
        raise EmptySelection(
            "there is nothing to report: the lake has no runs and no laws", hint="isoflop import, isoflop sweep"
        )
    of_laws = []
    for done, card in enumerate(cards):
        if progress is not None:
            progress(Progress("laws", done, len(cards)))
        of_laws.append((card, law_sections(lake, card, num_designed)))
    sections = (
        Section("summary", "In short", (*_summary(lake, cards), *_headlines(of_laws))),
        Section("runs", "Runs", _runs(lake)),
        *(section for _, found in of_laws for section in found),
        Section("forecasts", "Forecasts", parts_of("forecasts", lambda: _forecasts(lake, cards if names else None))),
        Section("provenance", "Where it comes from", _provenance(lake, cards)),
    )
    return Report(title or f"Scaling laws of {lake_name(lake.address)}", _made_with(lake), sections)


def lake_name(address: str) -> str:
    """Return what a lake is called, without the folders and hosts that lead to it.

    Example
    -------
    >>> lake_name("/home/me/demo.duckdb"), lake_name("postgresql://db:5432/laws?data=s3://bucket/x")
    ('demo.duckdb', 'laws')
    """
    return address.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition("\\")[2]


def _summary(lake: Lakehouse, cards: Sequence[LawCard]) -> tuple[Part, ...]:
    saved = [card for card in cards if not is_published(card.name)]
    if not saved:
        why = "none is saved" if not cards else "the laws are of papers, which no lake keeps"
        return (Missing("the list of laws", f"{why}; CREATE LAW name AS FIT … saves one"),)
    listed = ", ".join(literal(card.name) for card in saved)
    statement = (
        "SELECT name, version, form, target, rows, status, stale, comment\n"
        f"FROM (SHOW LAWS) WHERE name IN ({listed}) ORDER BY name"
    )
    return (Asker(lake).ask("The laws of this page", statement),)


def _headlines(of_laws: Sequence[tuple[LawCard, tuple[Section, ...]]]) -> tuple[Part, ...]:
    """Return a sentence a law: what it says at the farthest place of its extrapolation."""
    found: list[Part] = []
    for card, sections in of_laws:
        parts = [part for section in sections for part in section.parts]
        ahead = next((part for part in parts if isinstance(part, Asked) and card.predicted in part.answer.columns
                      and "in_support" in part.answer.columns), None)  # fmt: skip
        if ahead is None or not len(ahead.answer):
            continue
        row = len(ahead.answer) - 1
        first = next((name for name in ("flops", *card.inputs) if name in ahead.answer.columns), None)
        words: list[str | Quoted] = [f"{card.name}: {card.target} ", Quoted(ahead, card.predicted, row)]
        if first is not None:
            words += [f" at {first} ", Quoted(ahead, first, row)]
        if ahead.answer.records()[row]["lower"] is not None:
            words += [", between ", Quoted(ahead, "lower", row), " and ", Quoted(ahead, "upper", row)]
            words += [" at level ", Quoted(ahead, "level", row)]
        if any(note.startswith("not_known") for note in ahead.answer.notes):
            words.append("; the interval is too wide to be of use")
        if not card.is_converged:
            words.append(f"; the fit is {card.status.replace('_', ' ')}")
        found.append(Sentence(tuple(words)))
    return tuple(found)


def _runs(lake: Lakehouse) -> tuple[Part, ...]:
    asker = Asker(lake)
    runs = asker.ask("Runs by family, source and status", RUNS, units=RUNS_UNITS)
    if not len(runs.answer):
        return (Missing("runs", "the lake has none: its laws were given, or their runs are elsewhere"),)
    families = asker.ask("Families with curves", FAMILIES).answer.records()
    if not families:
        return (runs, Missing("loss curves", "no run has logged a loss on the way, only at its end"))
    drawn: list[Part] = []
    for row in families:
        condition = "family IS NULL" if row["family"] is None else f"family = {literal(row['family'])}"
        drawn += parts_of(f"loss curves of {row['family']}", partial(_curves, lake, condition))
    return (runs, *drawn)


def _curves(lake: Lakehouse, condition: str) -> tuple[Drawn]:
    runs = select_runs(lake, f"{condition} AND run_id IN (SELECT run_id FROM curves WHERE loss IS NOT NULL)")
    return (Drawn(f"Loss on the way, {condition}", curves_figure(lake, runs, most_points=MOST_CURVE_POINTS)),)


def _forecasts(lake: Lakehouse, cards: Sequence[LawCard] | None) -> tuple[Part, ...]:
    if cards is not None and not [card for card in cards if not is_published(card.name)]:
        return (Missing("forecasts", "only saved laws have them"),)
    asker = Asker(lake)
    lake.sql("SHOW FORECASTS")  # scores what has landed, so that the tables say the same when they are asked again
    of_laws = "" if cards is None else f" WHERE law IN ({', '.join(literal(card.name) for card in cards)})"
    each = asker.ask(
        "Said beforehand, and what came",
        "SELECT law, version, inputs, predicted, lower, upper, level, made_at, run_id, observed, inside, error\n"
        f"FROM (SHOW FORECASTS){of_laws} ORDER BY made_at, law, inputs",
    )
    if not len(each.answer):
        return (Missing("forecasts", "none was kept; FORECAST law TO … writes one down before its run exists"),)
    scores = asker.ask(
        "Hits and misses",
        "SELECT law, count(*) AS made, count(observed) AS answered, count(*) FILTER (inside) AS hits,\n"
        "    count(*) FILTER (NOT inside) AS misses, avg(error) AS mean_error\n"
        f"FROM (SHOW FORECASTS){of_laws} GROUP BY law ORDER BY law",
    )
    return (scores, each)


def _provenance(lake: Lakehouse, cards: Sequence[LawCard]) -> tuple[Part, ...]:
    saved = [card for card in cards if not is_published(card.name)]
    if not saved:
        return (Missing("the record of laws", "none of them is kept in the lake"),)
    versions = ", ".join(f"({literal(card.name)}, {card.version})" for card in saved)
    statement = (
        "SELECT name, version, created_at, code_version, seed, rows, data_hash\n"
        f"FROM laws WHERE (name, version) IN ({versions}) ORDER BY name"
    )
    return (Asker(lake).ask("When and with what each law was made, and a checksum of its rows", statement),)


def _made_with(lake: Lakehouse) -> tuple[tuple[str, str], ...]:
    import duckdb

    from isoflop.lakehouse.runs.provenance import code_version

    return (
        ("lake", lake_name(lake.address)),
        ("isoflop", code_version()),
        ("DuckDB", duckdb.__version__),
        ("Python", platform.python_version()),
        ("made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
    )
