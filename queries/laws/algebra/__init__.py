"""Formulas as trees: read by DuckDB's parser, evaluated by NumPy, written as SQL, derived by SymPy."""

from isoflop.queries.laws.algebra.expression import Call, Expression, Number, Symbol, evaluate, symbols_of, to_sql
from isoflop.queries.laws.algebra.parser import FormulaError, parse_expression
from isoflop.queries.laws.algebra.scaling import degrees
from isoflop.queries.laws.algebra.terms import Term, power_sum

__all__ = [
    "Call",
    "Expression",
    "FormulaError",
    "Number",
    "Symbol",
    "Term",
    "degrees",
    "evaluate",
    "parse_expression",
    "power_sum",
    "symbols_of",
    "to_sql",
]
