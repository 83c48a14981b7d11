"""EXTRAPOLATE BEST OF: given forms averaged as `auto` averages its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.asked_columns import PREDICTION
from isoflop.queries.language.syntax.averages import read_average
from isoflop.queries.language.syntax.nodes import ExtrapolateBest
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

USAGE = "EXTRAPOLATE BEST OF (loss ~ power(tokens)), (loss ~ plain_power(tokens)) FROM runs TO tokens = 1e13"

_PAGE = Page(
    purpose=(
        "Asks those of several forms that the rows determine, and answers with their weighted mean, as a law fitted by "
        "`auto` does with forms of its own. A form whose fit fails, or with a coefficient that the rows do not "
        "determine or that ends where its domain does, has no weight, and a note says why. All forms read the same "
        "inputs; [EXTRAPOLATE AVERAGE](#extrapolate-average) takes laws of different inputs, and leaves out none."
    ),
    sample="EXTRAPOLATE BEST OF (loss ~ power(flops)), (loss ~ saturating_power(flops)) FROM runs WHERE NOT outlier\n"
    "TO flops = 1e24 WITH (resamples = 20)",
    columns={"columns of TO": "the points, in their own units", **PREDICTION},
    options=("objective", "delta", "resamples", "seed", "level", "forward", "cluster", "interval"),
    defaults={"resamples": "`200`"},
    examples=(
        "SELECT flops, round(predicted_loss, 1) AS loss\n"
        "FROM (EXTRAPOLATE BEST OF (loss ~ power(flops)), (loss ~ saturating_power(flops))\n"
        "      FROM runs WHERE NOT outlier TO flops = [1e23, 1e24] WITH (resamples = 20))",
    ),
    mistakes=(
        "EXTRAPOLATE BEST OF (loss ~ power(flops)) FROM runs TO flops = 1e24",
        "EXTRAPOLATE BEST OF (loss ~ power(flops)), (loss ~ power(params)) FROM runs TO flops = 1e24, params = 1e9",
    ),
)


def _best(reader: TokenReader) -> ExtrapolateBest:
    return read_average(reader, "BEST", USAGE, ExtrapolateBest)


def _best_plan(question: Question, node: ExtrapolateBest) -> Plan:
    from isoflop.queries.language.plans.best import BestPlan

    return BestPlan(question, node)


EXTRAPOLATE_BEST = Verb(
    words="EXTRAPOLATE BEST",
    starts=("EXTRAPOLATE BEST OF",),  # both words, so that a law may be called best
    called="EXTRAPOLATE",
    rule=(
        'EXTRAPOLATE BEST OF ( saved_law "," saved_law { "," saved_law } '
        '| contender "," contender { "," contender } source [ WEIGHT BY expression ] ) targets [ options ]'
    ),
    node=ExtrapolateBest,
    parse=_best,
    plan=_best_plan,
    page=_PAGE,
    briefs=(Brief("what those of several forms expect that the rows determine", USAGE, "EXTRAPOLATE BEST OF"),),
)
