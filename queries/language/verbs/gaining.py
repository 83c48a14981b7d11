"""What one recipe gains over another: COMPARE GAIN."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isoflop.queries.language.syntax.nodes import Assignment, CompareGain, FitClause, Span
from isoflop.queries.language.syntax.parts import OPTIONS, read_assignments, read_law, read_options
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

GROUPS_USAGE = "COMPARE GAIN OF 'new' OVER 'old' IN (FIT loss ~ … FROM runs GROUP BY recipe SHARING (E, alpha, beta))"
USAGE = "COMPARE GAIN OF new OVER old AT flops = [1e21, 1e23]"
OLD = "(FIT loss ~ chinchilla(params, tokens) FROM (SELECT * REPLACE (loss * 1.02 AS loss) FROM runs WHERE NOT outlier)"

_PAGE = Page(
    purpose=(
        "The compute multiplier between two laws, such as those of two recipes: how many times the compute of a budget "
        "the second law needs to reach the loss that the first reaches with it. Laws of params and tokens spend a "
        "budget on the size that each says is best, at 6 flops for each parameter and token; with `AT params = …, "
        "tokens = …` in the place of flops both keep the tokens for each parameter that are given. Laws of one input, "
        "such as `flops`, are compared in it. Without `AT` the budget is the largest at which both it "
        "and what the second law needs lie within the rows of the laws.\n\n"
        "The interval comes from pairs of draws of the two laws, which are taken to be fitted independently; a law "
        "over itself has a gain of 1. Two values of `GROUP BY` in quotes compare groups of one `FIT`; with `SHARING` "
        "its draws are joint, and what both groups have in common cancels. Where the second law never comes down to "
        "the loss, such as below its floor, the gain is null and `reason` says why. The target may be of any sign, as "
        "long as it falls with compute."
    ),
    sample=f"COMPARE GAIN OF chin OVER {OLD} WITH (resamples = 20)) AT flops = [1e21, 1e23]",
    columns={
        "columns of AT": "the budgets, in their own units",
        "flops": "compute of the first law [flop]; of laws of another input, that input",
        "params": "what the first law spends it on [count]; this and the next only for laws of params and tokens",
        "tokens": "likewise [count]",
        "predicted_<target>": "what the first law reaches [unit of the target]",
        "needed_flops": "compute with which the second law reaches it [flop]; null where it does not",
        "needed_params": "what the second law spends it on [count]",
        "needed_tokens": "likewise [count]",
        "gain": "needed compute over the first law's [1]; above 1 the first law is ahead",
        "lower": "lower end of its interval [1]; null for laws without resamples",
        "upper": "upper end [1]; null where it is open",
        "level": "share that the interval is to cover [1]",
        "in_support": "whether both computes lie within those of the rows of their law",
        "reason": "why there is no gain, no interval, or an open end; null where there is nothing to say",
    },
    options=("level", "seed"),
    defaults={"level": "that of the first law"},
    examples=(
        "SELECT flops, round(gain, 2) AS gain, lower < gain AND gain < upper AS is_inside, in_support\n"
        f"FROM (COMPARE GAIN OF chin OVER {OLD}\n"
        "      WITH (resamples = 20)) AT flops = [1e20, 1e22])",
        "SELECT round(gain, 1) AS gain, in_support\n"
        "FROM (COMPARE GAIN OF 'new' OVER 'old' IN (FIT loss ~ chinchilla(params, tokens) FROM\n"
        "      (SELECT *, 'new' AS recipe FROM runs WHERE NOT outlier UNION ALL\n"
        "       SELECT * REPLACE (1.5 * params AS params, 2 * tokens AS tokens), 'old' FROM runs WHERE NOT outlier)\n"
        "      GROUP BY recipe SHARING (E, alpha, beta) WITH (resamples = 0)) AT flops = 1e21)",
    ),
    mistakes=(
        "COMPARE GAIN OF chin OVER (FIT loss ~ power(params) FROM runs) AT flops = 1e21",
        "COMPARE GAIN OF chin OVER chin AT steps = 1e5",
        "COMPARE GAIN OF 'a' OVER 'b' IN (FIT loss ~ power(flops) FROM runs GROUP BY outlier) AT flops = 1e21",
    ),
)


def _read(reader: TokenReader) -> CompareGain:
    start = reader.begin("COMPARE GAIN OF")
    if reader.current.kind is Kind.STRING and not reader.current.text.startswith('"'):
        return _read_groups(reader, start)
    law = read_law(reader, USAGE)
    word = reader.expect("OVER", USAGE)
    over = read_law(reader, USAGE)
    if reader.at("IN"):
        raise reader.error("the groups of a FIT stand in quotes", Span(law.start, over.end), GROUPS_USAGE)
    return _read_rest(reader, CompareGain(start, reader.end, law, over, Span(word.start, word.end)))


def _read_groups(reader: TokenReader, start: int) -> CompareGain:
    """Read `'group' OVER 'group' IN (FIT … GROUP BY …)`."""
    law = reader.value(Kind.STRING, "the value of a group in quotes")
    word = reader.expect("OVER", GROUPS_USAGE)
    over = reader.value(Kind.STRING, "the value of a group in quotes")
    reader.expect("IN", GROUPS_USAGE, what="IN and the FIT whose groups these are")
    if not reader.at("("):
        raise reader.expected('"(" and a FIT', GROUPS_USAGE)
    fit = read_law(reader, GROUPS_USAGE)
    assert isinstance(fit, FitClause)
    if not fit.source.groups:
        raise reader.error("the FIT has no GROUP BY, so there are no groups to compare", fit, GROUPS_USAGE)
    return _read_rest(reader, CompareGain(start, reader.end, law, over, Span(word.start, word.end), fit=fit))


def _read_rest(reader: TokenReader, gain: CompareGain) -> CompareGain:
    """Read `[AT column = value, …] [WITH (…)]`."""
    at, assignments = gain.at, tuple[Assignment, ...]()
    if reader.at("AT"):
        first = reader.next()
        assignments = read_assignments(reader, USAGE, OPTIONS)
        at = Span(first.start, reader.end)
    options = read_options(reader)
    return replace(gain, end=reader.end, at=at, assignments=assignments, options=options)


def _plan(question: Question, node: CompareGain) -> Plan:
    from isoflop.queries.language.plans.gain import GainPlan

    return GainPlan(question, node)


COMPARE_GAIN = Verb(
    words="COMPARE GAIN",
    starts=("COMPARE GAIN OF",),  # both words, so that a law may be called gain
    called="COMPARE GAIN",
    rule=(
        'COMPARE GAIN OF ( law OVER law | text OVER text IN "(" grouped_fit ")" ) '
        '[ AT column "=" value { "," column "=" value } ] [ options ]'
    ),
    node=CompareGain,
    parse=_read,
    plan=_plan,
    page=_PAGE,
    briefs=(
        Brief(
            "say how much compute one recipe saves over another",
            "COMPARE GAIN OF chin OVER (FIT loss ~ chinchilla(params, tokens) FROM runs) AT flops = [1e21, 1e23]",
            "COMPARE GAIN OF",
        ),
    ),
    clauses={"AT": "the budgets at which recipes are compared"},
)
