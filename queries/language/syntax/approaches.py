"""From tokens to `COMPARE APPROACHES`: the rows, the law of approach 3, the budgets that are asked for."""

from __future__ import annotations

from isoflop.queries.language.syntax.nodes import CompareApproaches, Expression, Source, Span
from isoflop.queries.language.syntax.parts import HOLDOUTS, OPTIONS, read_candidate, read_options, read_source
from isoflop.queries.language.syntax.reader import TokenReader

STARTS = (
    "COMPARE APPROACHES FROM",
    "COMPARE APPROACHES (",
)  # any other `COMPARE approaches …` compares a law of that name
APPROACHES_USAGE = "COMPARE APPROACHES (loss ~ chinchilla(params, tokens)) FROM runs AT flops = [1e21, 1e22]"
AT = "AT FLOPS"  # both words: DuckDB's own `FROM t AT (VERSION => 1)` stays a table


def read_approaches(reader: TokenReader) -> CompareApproaches:
    """Read `COMPARE APPROACHES [(target ~ form)] FROM … [GROUP BY …] [AT flops = …]`.

    Raises
    ------
    QuerySyntaxError : when it does not parse
    """
    start = reader.begin("COMPARE")
    word = reader.next()
    candidate = None
    if reader.at("("):
        inner = reader.inside()
        candidate = read_candidate(inner, "FROM")
        inner.finish(APPROACHES_USAGE)
    source = read_source(reader, "COMPARE APPROACHES", AT, *HOLDOUTS)
    if source.weight is not None:
        raise reader.error("COMPARE APPROACHES has no weights", source.weight)
    if source.sharing:
        raise reader.error("COMPARE APPROACHES does not take SHARING", source.sharing[0])
    budgets = _budgets(reader, source)
    options = read_options(reader)
    if reader.at(*HOLDOUTS):
        hint = "COMPARE law, law FROM runs HOLDOUT … judges laws by rows they have not seen"
        raise reader.error(f"COMPARE APPROACHES does not take {reader.current.upper}", hint=hint)
    return CompareApproaches(start, reader.end, Span(word.start, word.end), candidate, source, budgets, options)


def _budgets(reader: TokenReader, source: Source) -> Expression | None:
    """Read `AT flops = [list]`, or nothing."""
    if reader.accept(AT):
        reader.expect("=", APPROACHES_USAGE, what='"=" and budgets after AT flops')
        return reader.expression("a budget or a list of them", OPTIONS, hint=APPROACHES_USAGE)
    inside = [source.relation, *([source.where] if source.where else []), *source.groups]
    for part in inside:
        for index in range(part.first, part.last - 2):
            word, name, equals = reader.tokens[index : index + 3]
            if word.upper == "AT" and name.is_name and equals.text == "=":
                raise reader.error(f"AT takes flops, got {name.text}", name, APPROACHES_USAGE)
    return None
