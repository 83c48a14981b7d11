"""What sweeps of a setting say: OPTIMUM OF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.syntax.optimum import OptimumClause, read_optimum
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

_OPTIMUM_PAGE = Page(
    purpose=(
        "Where a swept setting is best, cell by cell: the rows that are equal in what `BY` names are a cell, and a "
        "parabola of the target (`loss` unless `MINIMIZE` or `MAXIMIZE` names another) in the log of the setting has "
        "its minimum at the cell's optimum. Any column that was tried at several values can be asked for: a learning "
        "rate, a batch, a width, params at equal flops. The interval is that of the minimum, from draws of the "
        "parabola that the scatter of the cell's rows leaves possible; an end that they leave open is null, and the "
        "cell then `unsure`.\n\n"
        "A cell whose minimum lies outside what was tried, whose parabola opens downwards, that has fewer than four "
        "different values, or whose scatter leaves open whether there is a minimum, is named so in `status` and has "
        "no part in the law. A note says the power law through the others, `setting = k * column ^ a * …`, each "
        "weighted by how sure its optimum is; `CREATE LAW best_lr AS OPTIMUM OF …` keeps it, as a `FIT` of the cells "
        "(`SELECT statement FROM laws` shows which). It is fitted by `least_squares_log` unless `objective` says "
        "otherwise, and takes the options of `FIT` too. With `GROUP BY` each group has cells and a law of its own.\n\n"
        "A parabola is symmetric, and sweeps that reach into divergence are not: `within = 0.05` leaves out rows that "
        "lie more than five per cent above the lowest of their cell."
    ),
    sample="OPTIMUM OF params BY flops FROM runs WHERE NOT outlier WITH (tolerance = 0.1)",
    columns={
        "columns of GROUP BY": "the values that the rows of a group share; none without it",
        "columns of BY": "the cell: the value that its rows share, or the geometric mean of those within `tolerance`",
        "optimum": "the setting at the minimum, in its own unit; null where there is none",
        "lower": "lower end of its interval; null where the rows leave it open",
        "upper": "upper end",
        "<target>_at_optimum": "the parabola's value there [unit of the target]",
        "rows": "rows of the cell that were used",
        "lowest": "lowest setting that was tried",
        "largest": "largest setting that was tried",
        "weight": "what the cell counts in the law, one on average; null where it has no part in it",
        "status": "`optimal`, `at_lower_edge`, `at_upper_edge`, `no_minimum`, `too_few_rows` or `unsure`",
    },
    options=("tolerance", "within", "resamples", "seed", "level"),
    defaults={"tolerance": "`1e-3`", "within": "none is left out"},
    examples=(
        "SELECT round(log10(flops), 1) AS decades, round(optimum / 1e9, 2) AS billions, lower < upper AS is_known, "
        "rows, status\n"
        "FROM (OPTIMUM OF params BY flops MINIMIZE loss FROM runs WHERE NOT outlier AND flops > 1e19\n"
        "      WITH (tolerance = 0.1)) WHERE rows > 8",
        "CREATE OR REPLACE LAW best_size AS OPTIMUM OF params BY flops FROM runs WHERE NOT outlier "
        "WITH (tolerance = 0.1, resamples = 200);\n"
        "SELECT round(best_size(5.76e23) / 1e9) AS billions",
    ),
    mistakes=(
        "OPTIMUM OF params FROM runs",
        "OPTIMUM OF params BY params FROM runs",
        "OPTIMUM OF params BY flops FROM runs WITH (within = 0)",
    ),
)


def _optimum_plan(question: Question, node: OptimumClause) -> Plan:
    from isoflop.queries.language.plans.optimum import OptimumPlan

    return OptimumPlan(question, node)


OPTIMUM = Verb(
    words="OPTIMUM",
    starts=("OPTIMUM OF",),  # both words, so that a column may be called optimum
    rule=(
        'OPTIMUM OF expression [ AS name ] BY "(" cell { "," cell } ")" [ ( MINIMIZE | MAXIMIZE ) target ] source '
        '[ GROUP BY expression { "," expression } ] [ options ]'
    ),
    node=OptimumClause,
    parse=read_optimum,
    plan=_optimum_plan,
    page=_OPTIMUM_PAGE,
    briefs=(
        Brief(
            "where a swept setting is best, cell by cell, and the power law of it",
            "OPTIMUM OF params BY flops MINIMIZE loss FROM runs WITH (tolerance = 0.1)",
            "OPTIMUM OF",
        ),
    ),
    clauses={
        "OPTIMUM OF": "the setting that was swept",
        "BY": "what the rows of a cell have in common",
    },
)
