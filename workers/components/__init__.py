"""What experiments are put together from: optimizers, tasks, parametrizations, number formats; each a small config."""

from isoflop.workers.components.classification import AnyClasses, Odor, Xor
from isoflop.workers.components.component import Component, Scalar, choices_of, components_of
from isoflop.workers.components.descent import (
    AnyDescent,
    DecayingDescent,
    DecayingFlow,
    ExactFlow,
    GradientDescent,
    GradientFlow,
    HeavyBall,
    Langevin,
    LinearModelDescent,
    RegularizedDescent,
)
from isoflop.workers.components.optimizers import AdamW, AnyOptimizer, Lion, Muon, Optimizer, Sgd
from isoflop.workers.components.parametrization import (
    AnyParametrization,
    CompleteP,
    DepthMup,
    Mup,
    Ntk,
    Parametrization,
    RoleWeight,
    Scaling,
    Shape,
    Standard,
)
from isoflop.workers.components.precision import Precision
from isoflop.workers.components.teacher import DecayingTeacher, RoughTeacher, Teacher

__all__ = [
    "AdamW",
    "AnyClasses",
    "AnyDescent",
    "AnyOptimizer",
    "AnyParametrization",
    "CompleteP",
    "Component",
    "DecayingDescent",
    "DecayingFlow",
    "DecayingTeacher",
    "DepthMup",
    "ExactFlow",
    "GradientDescent",
    "GradientFlow",
    "HeavyBall",
    "Langevin",
    "LinearModelDescent",
    "Lion",
    "Muon",
    "Mup",
    "Ntk",
    "Odor",
    "Optimizer",
    "Parametrization",
    "Precision",
    "RegularizedDescent",
    "RoleWeight",
    "RoughTeacher",
    "Scalar",
    "Scaling",
    "Sgd",
    "Shape",
    "Standard",
    "Teacher",
    "Xor",
    "choices_of",
    "components_of",
]
