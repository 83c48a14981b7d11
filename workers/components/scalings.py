"""The tables of the parametrizations: how each weight begins, what its layer is multiplied by, and how it learns.

The entries are the formulas that training evaluates, over these names:

- `inputs` : of the matrix
- `wider` : width / base_width, how many times as wide as the base the network is
- `deeper` : depth / base_depth
- `depth`, `base_depth` : layers of the network and of the base

At the base all tables give the function and the updates of `standard`, so that a learning rate found there is one
that the others take along.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Literal

Role = Literal["embedding", "hidden", "into_residual", "readout", "norm", "bias", "final_norm"]
INNER: tuple[Role, ...] = ("hidden", "into_residual")  # the matrices of layers, which Muon orthogonalizes
Rule = Literal["adam", "sgd", "muon"]  # how an optimizer's update grows with its gradient and its matrix


@dataclass(frozen=True)
class Learning:
    """How a weight learns by one kind of optimizer: factors of its rate, weight decay and epsilon, as formulas."""

    rate: str = "1"
    decay: str = "1"
    epsilon: str = "1"


@dataclass(frozen=True)
class Row:
    """How one role is treated.

    Parameters
    ----------
    initial : standard deviation of the first entries; None leaves what the layer begins with, gains of 1, biases of 0
    multiplier : of what the layer puts out
    adam, sgd, muon : how it learns; `adam` holds for every optimizer whose steps do not grow with the gradient
    """

    initial: str | None
    multiplier: str = "1"
    adam: Learning = field(default_factory=Learning)
    sgd: Learning = field(default_factory=Learning)
    muon: Learning = field(default_factory=Learning)

    def learning(self, rule: Rule) -> Learning:
        """Return how the role learns by a kind of optimizer."""
        return {"adam": self.adam, "sgd": self.sgd, "muon": self.muon}[rule]


Table = Mapping[Role, Row]

FAN_IN = "1.0 / sqrt(inputs)"
# Token vectors and, through an untied head, small first logits: a standard deviation of 0.02 (Radford et al. 2019).
SMALL = "0.02"

STANDARD: Table = {
    "embedding": Row(SMALL),
    "hidden": Row(FAN_IN),
    "into_residual": Row("1 / sqrt(2 * depth) / sqrt(inputs)"),
    "readout": Row(SMALL),
    "norm": Row(None),
    "bias": Row(None),
    "final_norm": Row(None),
}

# Unit weights whose layers shrink what they put out. Rates are those at which outputs move as much at every width, and
# features ever less. A gradient is 1 / sqrt(wider) of the base's, times the multiplier.
_NTK_VECTOR = Row(None, adam=Learning("1 / sqrt(wider)", "sqrt(wider)", "1 / sqrt(wider)"))
NTK: Table = {
    "embedding": Row(
        "1",
        multiplier=SMALL,
        adam=Learning("50 / sqrt(wider)", "0.02 * sqrt(wider)", "0.02 / sqrt(wider)"),
        sgd=Learning("2500", "0.0004"),
    ),
    "hidden": Row(
        "1",
        multiplier="1 / sqrt(inputs)",
        adam=Learning("sqrt(inputs) / wider ** 1.5", "wider ** 1.5 / sqrt(inputs)", "1 / sqrt(inputs * wider)"),
        sgd=Learning("inputs / wider", "wider / inputs"),
        muon=Learning("sqrt(inputs / wider)", "sqrt(wider / inputs)"),
    ),
    "into_residual": Row(
        "1",
        multiplier="1 / sqrt(2 * depth * inputs)",
        adam=Learning(
            "sqrt(2 * depth * inputs) / wider ** 1.5",
            "wider ** 1.5 / sqrt(2 * depth * inputs)",
            "1 / sqrt(2 * depth * inputs * wider)",
        ),
        sgd=Learning("2 * depth * inputs / wider", "wider / (2 * depth * inputs)"),
        muon=Learning("sqrt(2 * depth * inputs / wider)", "sqrt(wider / (2 * depth * inputs))"),
    ),
    "readout": Row(
        "1",
        multiplier="0.02 / sqrt(wider)",
        adam=Learning("50 / sqrt(wider)", "0.02 * sqrt(wider)", "0.02 / sqrt(wider)"),
        sgd=Learning("2500", "0.0004"),
    ),
    "norm": _NTK_VECTOR,
    "bias": _NTK_VECTOR,
    "final_norm": _NTK_VECTOR,
}

# What all maximal-update tables have outside the layers: inputs learn at one rate at every width, logits shrink.
_INPUT = Learning(epsilon="1 / wider")
_BY_GRADIENT = Learning("wider", "1 / wider")  # a gradient is 1 / wider of the base's
_MUP_EMBEDDING = Row(SMALL, adam=_INPUT, sgd=_BY_GRADIENT)
_MUP_READOUT = Row(SMALL, multiplier="1 / wider", adam=_INPUT, sgd=_BY_GRADIENT)
_MUP_FINAL = Row(None, adam=_INPUT, sgd=_BY_GRADIENT)

_MUP_HIDDEN = Learning("1 / wider", "wider", "1 / wider")
MUP: Table = {
    "embedding": _MUP_EMBEDDING,
    "hidden": Row(FAN_IN, adam=_MUP_HIDDEN),
    "into_residual": Row("1 / sqrt(2 * depth) / sqrt(inputs)", adam=_MUP_HIDDEN),
    "readout": _MUP_READOUT,
    "norm": _MUP_FINAL,
    "bias": _MUP_FINAL,
    "final_norm": _MUP_FINAL,
}

# Layers add 1 / sqrt(deeper) of what they add at the base.
_ROOT_HIDDEN = Learning("1 / (wider * sqrt(deeper))", "wider", "1 / (wider * sqrt(deeper))")
_ROOT_MUON = Learning("1 / sqrt(deeper)")
_ROOT_VECTOR = Row(None, adam=Learning("1 / sqrt(deeper)", epsilon="1 / (wider * sqrt(deeper))"), sgd=_BY_GRADIENT)
DEPTH_MUP: Table = {
    "embedding": _MUP_EMBEDDING,
    "hidden": Row(FAN_IN, adam=_ROOT_HIDDEN, muon=_ROOT_MUON),
    "into_residual": Row(
        "1 / sqrt(2 * base_depth) / sqrt(inputs)", multiplier="1 / sqrt(deeper)", adam=_ROOT_HIDDEN, muon=_ROOT_MUON
    ),
    "readout": _MUP_READOUT,
    "norm": _ROOT_VECTOR,
    "bias": _ROOT_VECTOR,
    "final_norm": _MUP_FINAL,
}

# Layers add 1 / deeper of what they add at the base, so that what they learn is not linear in the step.
_WHOLE_HIDDEN = Learning("1 / wider", "wider", "1 / (wider * deeper)")
_WHOLE_SGD = Learning("deeper", "1 / deeper")
_WHOLE_VECTOR = Row(
    None, adam=Learning(epsilon="1 / (wider * deeper)"), sgd=Learning("wider * deeper", "1 / (wider * deeper)")
)
COMPLETEP: Table = {
    "embedding": _MUP_EMBEDDING,
    "hidden": Row(FAN_IN, adam=_WHOLE_HIDDEN, sgd=_WHOLE_SGD),
    "into_residual": Row(
        "1 / sqrt(2 * base_depth) / sqrt(inputs)", multiplier="1 / deeper", adam=_WHOLE_HIDDEN, sgd=_WHOLE_SGD
    ),
    "readout": _MUP_READOUT,
    "norm": _WHOLE_VECTOR,
    "bias": _WHOLE_VECTOR,
    "final_norm": _MUP_FINAL,
}


def value(formula: str, names: Mapping[str, float]) -> float:
    """Return the value of a table's entry.

    Example
    -------
    >>> value("1 / sqrt(2 * depth) / sqrt(inputs)", {"depth": 2, "inputs": 64})
    0.0625
    """
    return float(eval(_compiled(formula), {"__builtins__": {}, "sqrt": math.sqrt}, dict(names)))


@functools.cache
def _compiled(formula: str) -> CodeType:
    return compile(formula, formula, "eval")
