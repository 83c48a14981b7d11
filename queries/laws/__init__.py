"""Laws: named curves over runs, one file each; a new one is a file here and a word in `registry.LAWS`."""

from isoflop.queries.laws.additive import ADDITIVE
from isoflop.queries.laws.algebra import FormulaError
from isoflop.queries.laws.annealing_curve import ANNEALING_CURVE
from isoflop.queries.laws.bnsl import BNSL, BNSL2, BNSL3
from isoflop.queries.laws.bounded_power import BOUNDED_POWER
from isoflop.queries.laws.chinchilla import CHINCHILLA
from isoflop.queries.laws.chinchilla_tied import CHINCHILLA_TIED
from isoflop.queries.laws.compute_loss import COMPUTE_LOSS
from isoflop.queries.laws.critical_batch import CRITICAL_BATCH, CRITICAL_BATCH_OF_LOSS
from isoflop.queries.laws.data_constrained import DATA_CONSTRAINED
from isoflop.queries.laws.distillation import DISTILLATION
from isoflop.queries.laws.formula import Chart, Formula, parse_formula
from isoflop.queries.laws.kaplan import KAPLAN
from isoflop.queries.laws.kaplan_floor import KAPLAN_FLOOR
from isoflop.queries.laws.law import Coefficient, Cost, Input, Law, Role, amplitude, exponent, floor, free
from isoflop.queries.laws.learning_curves import EXP4, ILOG2, MMF4, VAP3, WBL4
from isoflop.queries.laws.loss_in_time import LOSS_IN_TIME
from isoflop.queries.laws.mixture import MIXTURE3, MIXTURE_ADDITIVE3
from isoflop.queries.laws.moe import MOE
from isoflop.queries.laws.moe_granularity import MOE_GRANULARITY
from isoflop.queries.laws.multi_power import MULTI_POWER
from isoflop.queries.laws.nqs import NQS, NQS_REGULARIZED
from isoflop.queries.laws.objective_names import ANY_SIGN, OBJECTIVES, WITH_DELTA, find_objective
from isoflop.queries.laws.objectives import Huber, LeastAbsolute, LeastSquares, Objective, PlainSquares, RelativeSquares
from isoflop.queries.laws.optimal_batch import OPTIMAL_BATCH
from isoflop.queries.laws.optimal_learning_rate import OPTIMAL_LEARNING_RATE
from isoflop.queries.laws.optimal_params import OPTIMAL_PARAMS
from isoflop.queries.laws.optimal_tokens import OPTIMAL_TOKENS
from isoflop.queries.laws.overtraining import OVERTRAINING
from isoflop.queries.laws.plain_power import PLAIN_POWER
from isoflop.queries.laws.power import POWER
from isoflop.queries.laws.precision import PRECISION
from isoflop.queries.laws.ptq import PTQ
from isoflop.queries.laws.registry import LAWS, find_law, known_laws, listed_laws
from isoflop.queries.laws.robust_objectives import AsymmetricHuber, HuberLikelihood, PlainHuber
from isoflop.queries.laws.saturating_power import SATURATING_POWER
from isoflop.queries.laws.shifted_power import SHIFTED_POWER
from isoflop.queries.laws.sigmoid import SIGMOID
from isoflop.queries.laws.smooth_max import SMOOTH_MAX
from isoflop.queries.laws.step_time import STEP_TIME
from isoflop.queries.laws.task_accuracy import TASK_ACCURACY
from isoflop.queries.laws.task_error import TASK_ERROR
from isoflop.queries.laws.transfer import TRANSFER
from isoflop.queries.laws.vocabulary import VOCABULARY
from isoflop.queries.laws.width_depth import WIDTH_DEPTH

__all__ = [
    "ADDITIVE",
    "ANNEALING_CURVE",
    "ANY_SIGN",
    "BNSL",
    "BNSL2",
    "BNSL3",
    "BOUNDED_POWER",
    "CHINCHILLA",
    "CHINCHILLA_TIED",
    "COMPUTE_LOSS",
    "CRITICAL_BATCH",
    "CRITICAL_BATCH_OF_LOSS",
    "DATA_CONSTRAINED",
    "DISTILLATION",
    "EXP4",
    "ILOG2",
    "KAPLAN",
    "KAPLAN_FLOOR",
    "LAWS",
    "LOSS_IN_TIME",
    "MIXTURE3",
    "MIXTURE_ADDITIVE3",
    "MMF4",
    "MOE",
    "MOE_GRANULARITY",
    "MULTI_POWER",
    "NQS",
    "NQS_REGULARIZED",
    "OBJECTIVES",
    "OPTIMAL_BATCH",
    "OPTIMAL_LEARNING_RATE",
    "OPTIMAL_PARAMS",
    "OPTIMAL_TOKENS",
    "OVERTRAINING",
    "PLAIN_POWER",
    "POWER",
    "PRECISION",
    "PTQ",
    "SATURATING_POWER",
    "SHIFTED_POWER",
    "SIGMOID",
    "SMOOTH_MAX",
    "STEP_TIME",
    "TASK_ACCURACY",
    "TASK_ERROR",
    "TRANSFER",
    "VAP3",
    "VOCABULARY",
    "WBL4",
    "WIDTH_DEPTH",
    "WITH_DELTA",
    "AsymmetricHuber",
    "Chart",
    "Coefficient",
    "Cost",
    "Formula",
    "FormulaError",
    "Huber",
    "HuberLikelihood",
    "Input",
    "Law",
    "LeastAbsolute",
    "LeastSquares",
    "Objective",
    "PlainHuber",
    "PlainSquares",
    "RelativeSquares",
    "Role",
    "amplitude",
    "exponent",
    "find_law",
    "find_objective",
    "floor",
    "free",
    "known_laws",
    "listed_laws",
    "parse_formula",
]
