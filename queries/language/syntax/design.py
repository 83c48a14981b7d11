"""From tokens to DESIGN: how many runs, for which forecast, over which ranges, under which conditions."""

from __future__ import annotations

from isoflop.queries.language.syntax.nodes import Extrapolate
from isoflop.queries.language.syntax.optimize import read_conditions, read_over
from isoflop.queries.language.syntax.parts import read_law, read_options, read_targets
from isoflop.queries.language.syntax.planning import Design
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind

DESIGN_USAGE = (
    "DESIGN 6 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10] LOG, "
    "tokens IN [1e9, 1e12] LOG SUBJECT TO SUM(6 * params * tokens) <= 1e21"
)


def read_design(reader: TokenReader) -> Design:
    """Read `DESIGN n RUNS FOR law TO … OVER … SUBJECT TO … WITH (…)`.

    Raises
    ------
    QuerySyntaxError : when it does not parse
    """
    start = reader.begin("DESIGN")
    if reader.at_end or reader.current.kind not in (Kind.NUMBER, Kind.PARAMETER):
        raise reader.expected("how many runs", DESIGN_USAGE)
    reader.next()
    count = reader.slice(reader.index - 1, reader.index)
    if not reader.accept("RUN"):
        reader.expect("RUNS", DESIGN_USAGE)
    reader.expect("FOR", DESIGN_USAGE)
    reference = read_law(reader, DESIGN_USAGE)
    target, assignments, query = read_targets(reader, DESIGN_USAGE, "OVER")
    forecast = Extrapolate(start, reader.end, reference, target, assignments, query)
    ranges, values = read_over(reader, "SUBJECT TO")
    conditions = read_conditions(reader)
    options = read_options(reader)
    return Design(start, reader.end, count, forecast, ranges, values, conditions, options)
