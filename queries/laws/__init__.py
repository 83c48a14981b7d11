"""Laws: named curves over runs, one file each; a new one is a file here and a word in `registry.LAWS`."""

from isoflop.queries.laws.algebra import FormulaError
from isoflop.queries.laws.chinchilla import CHINCHILLA
from isoflop.queries.laws.formula import Chart, Formula, parse_formula
from isoflop.queries.laws.kaplan import KAPLAN
from isoflop.queries.laws.law import Coefficient, Input, Law, Role, amplitude, exponent, floor, free
from isoflop.queries.laws.objective_names import OBJECTIVES, WITH_DELTA, find_objective
from isoflop.queries.laws.objectives import Huber, LeastAbsolute, LeastSquares, Objective, RelativeSquares
from isoflop.queries.laws.power import POWER
from isoflop.queries.laws.registry import LAWS, find_law, known_laws
from isoflop.queries.laws.robust_objectives import AsymmetricHuber, HuberLikelihood
from isoflop.queries.laws.step_time import STEP_TIME

__all__ = [
    "CHINCHILLA",
    "KAPLAN",
    "LAWS",
    "OBJECTIVES",
    "POWER",
    "STEP_TIME",
    "WITH_DELTA",
    "AsymmetricHuber",
    "Chart",
    "Coefficient",
    "Formula",
    "FormulaError",
    "Huber",
    "HuberLikelihood",
    "Input",
    "Law",
    "LeastAbsolute",
    "LeastSquares",
    "Objective",
    "RelativeSquares",
    "Role",
    "amplitude",
    "exponent",
    "find_law",
    "find_objective",
    "floor",
    "free",
    "known_laws",
    "parse_formula",
]
