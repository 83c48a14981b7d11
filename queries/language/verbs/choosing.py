"""What is best to train: OPTIMIZE and DESIGN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.defaults import OPTIMUM_RESAMPLES
from isoflop.queries.language.syntax.design import read_design
from isoflop.queries.language.syntax.optimize import read_optimize
from isoflop.queries.language.syntax.planning import Design, Optimize
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

INTERVAL_OPTIONS = ("level", "interval")
OF_THE_LAW = {"level": "that of the law"}
OVER = "OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG"
INTERVAL = {
    "predicted_<target>": "what the law says [unit of the target]",
    "lower": "lower end of the interval [unit of the target]; null for a law without resamples",
    "upper": "upper end [unit of the target]",
}

_OPTIMIZE_PAGE = Page(
    purpose=(
        "Chooses the inputs of a law: the least or the most of a formula within ranges and under conditions, once for "
        "each value of `FOR EACH`. Formulas may hold what `OVER` and `FOR EACH` give, and the law's target, which is "
        "its prediction. Without `MINIMIZE` or `MAXIMIZE` it is the target: its least, or of a metric such as accuracy "
        "its most. `LOG` searches a range by logarithms, `INTEGER` keeps whole numbers. A name of `OVER` may "
        "follow from others (`tokens = 20 * params`); `flops` follows from params and tokens, `seconds` from "
        "`time_law`, and any other saved law can be called like a function."
    ),
    sample=f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 6 * params * tokens <= 1e21",
    columns={
        "name of FOR EACH": "its value",
        "names of OVER": "the point that is best, in their own units",
        **INTERVAL,
        "slack": "struct, one field a condition: room that is left, in the condition's unit; null without conditions",
        "binding": "the conditions without room",
        "multiplier": "struct, one field a condition: change of the optimum per unit of its right-hand side",
        "status": "`optimal`, `infeasible` or `not_converged`",
        "optimum": "the best value of what is optimized, in its own unit",
        "optimum_lower": "lower end of its interval, from the optima of the law's resamples",
        "optimum_upper": "upper end",
        "names of OVER, _lower and _upper": "the interval of each, likewise",
    },
    options=(*INTERVAL_OPTIONS, "resamples", "time_law"),
    defaults={**OF_THE_LAW, "resamples": f"`{OPTIMUM_RESAMPLES}`, at most those of the law"},
    examples=(
        "SELECT budget, params, tokens, round(predicted_loss, 3) AS loss, status\n"
        f"FROM (OPTIMIZE chin MINIMIZE loss {OVER}\n"
        "      SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e21, 1e23])",
        "SELECT round(log10(6 * params * tokens), 2) AS decades\n"
        f"FROM (OPTIMIZE chin MINIMIZE 6 * params * tokens {OVER}\n"
        "      SUBJECT TO loss <= 2.1)",
        "SELECT params, round(optimum, 3) AS loss, optimum_upper > optimum_lower AS is_wide\n"
        "FROM (OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens = 20 * params\n"
        "      SUBJECT TO flops <= 1e23, brief(flops) >= 2)",
    ),
    mistakes=(
        "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG SUBJECT TO params <= 1e9",
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 6 * params * token <= 1e21",
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params < 1e9",
        "OPTIMIZE chin MINIMIZE loss OVER params = 1e9, tokens = 2e10",
    ),
)


def _optimize_plan(question: Question, node: Optimize) -> Plan:
    from isoflop.queries.language.plans.optimize import OptimizePlan

    return OptimizePlan(question, node)


OPTIMIZE = Verb(
    words="OPTIMIZE",
    rule=(
        'OPTIMIZE law [ ( MINIMIZE | MAXIMIZE ) formula ] OVER chosen { "," chosen } '
        '[ SUBJECT TO comparison { "," comparison } ] [ FOR EACH name IN values ] [ options ]'
    ),
    node=Optimize,
    parse=read_optimize,
    plan=_optimize_plan,
    page=_OPTIMIZE_PAGE,
    briefs=(
        Brief(
            "choose inputs under a constraint",
            "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
            "SUBJECT TO 6 * params * tokens <= 1e22",
        ),
    ),
    clauses={
        "MINIMIZE": "what is to be small",
        "MAXIMIZE": "what is to be large",
        "OVER": "what can be chosen",
        "SUBJECT TO": "what has to hold",
        "FOR EACH": "once for each value",
    },
)


_DESIGN_PAGE = Page(
    purpose=(
        "Chooses the runs to train: those that most narrow what a law says about the points of `TO`, the most useful "
        "first ([how, and whether that helps](design.md)). `OVER` gives each name a range, a list to choose from or a "
        "value that follows from others. Conditions hold for each run, and `SUM(…)` of an expression over all of them "
        "is held below a budget. Without a budget or `per` runs are chosen whatever they cost."
    ),
    sample=f"DESIGN 2 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 {OVER}\n"
    "SUBJECT TO SUM(6 * params * tokens) <= 1e22",
    columns={
        "run": "1 for the most useful",
        "names of OVER": "what to train, in their own units",
        "predicted_<target>": "what the law says of the run [unit of the target]",
        "flops": "training compute [flop]: 6 params tokens, or counted where `OVER` gives a shape",
        "seconds": "what `time_law` says [s]; null without one",
        "cost": "what `SUM(…)` or `per` counts, in its own unit",
        "width_before": "expected width of the forecast's interval without this run [unit of the target]",
        "width_after": "with it and those above it",
        "ratio": "how many times narrower the forecast is by then than before all of them [1]",
        "level": "share of new runs that the interval is to hold [1]",
        "interval": "`prediction` or `confidence`",
    },
    options=(*INTERVAL_OPTIONS, "seed", "time_law", "per"),
    defaults={**OF_THE_LAW, "interval": "`'confidence'`"},
    examples=(
        "SELECT run, params, tokens, round(ratio, 2) AS ratio\n"
        "FROM (DESIGN 3 RUNS FOR chin TO params = 7e10, tokens = 1.4e12\n"
        "      OVER params IN (1e8, 3e8, 1e9, 3e9), tokens IN (1e10, 3e10, 1e11, 3e11)\n"
        "      SUBJECT TO SUM(flops) <= 1e22, tokens <= 200 * params)",
    ),
    mistakes=(
        f"DESIGN RUNS FOR chin TO params = 7e10, tokens = 1.4e12 {OVER}",
        "DESIGN 2 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10] LOG",
        "DESIGN 2 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10], tokens = 1e10\n"
        "SUBJECT TO SUM(flops) <= 1e15",
    ),
)


def _design_plan(question: Question, node: Design) -> Plan:
    from isoflop.queries.language.plans.design import DesignPlan

    return DesignPlan(question, node)


DESIGN = Verb(
    words="DESIGN",
    opens=lambda token: token.kind in (Kind.NUMBER, Kind.PARAMETER),  # many tables have a column of that name
    rule=(
        'DESIGN number ( RUNS | RUN ) FOR law targets OVER planned { "," planned } '
        '[ SUBJECT TO limit { "," limit } ] [ options ]'
    ),
    node=Design,
    parse=read_design,
    plan=_design_plan,
    page=_DESIGN_PAGE,
    briefs=(
        Brief(
            "choose the runs to train next, those that most narrow a forecast",
            "DESIGN 3 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10] LOG, "
            "tokens = 20 * params SUBJECT TO SUM(flops) <= 1e22",
        ),
    ),
    clauses={
        "RUNS FOR": "the law whose forecast is to be narrowed",
    },
)
