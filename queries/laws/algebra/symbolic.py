"""Derivatives and LaTeX of a formula, by SymPy.

SymPy takes half a second to import, so this module is imported only when a formula needs a derivative that has
no closed form elsewhere, or when LaTeX is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from isoflop.queries.laws.algebra.expression import OPERATIONS, Array, Call, Expression, Number, Symbol

Compiled = Callable[..., Any]


@dataclass(frozen=True)
class Derived:
    """What follows from a formula by differentiation; everything is compiled when first used.

    Parameters
    ----------
    expression : the law as a SymPy expression
    coefficients, inputs : its symbols, in the law's order
    """

    expression: Any
    coefficients: tuple[Any, ...]
    inputs: tuple[Any, ...]

    @functools.cached_property
    def linear(self) -> tuple[str, ...]:
        """Names of a largest set of coefficients in which the law is jointly linear: amplitudes to project out."""
        chosen: list[Any] = []
        for coefficient in self.coefficients:
            slope = sp.diff(self.expression, coefficient)
            if all(sp.diff(slope, other) == 0 for other in [*chosen, coefficient]):
                chosen.append(coefficient)
        return tuple(str(symbol) for symbol in chosen)

    @functools.cached_property
    def _gradient(self) -> list[Any]:
        return [sp.diff(self.expression, coefficient) for coefficient in self.coefficients]

    @functools.cached_property
    def _compiled_first(self) -> Compiled:
        return self._compile([self.expression, *self._gradient])

    @functools.cached_property
    def _compiled_second(self) -> Compiled:
        pairs = [
            sp.diff(slope, other).replace(sp.DiracDelta, lambda *_: sp.Integer(0))
            for k, slope in enumerate(self._gradient)
            for other in self.coefficients[k:]
        ]
        return self._compile([self.expression, *self._gradient, *pairs])

    def _compile(self, expressions: list[Any]) -> Compiled:
        compiled: Compiled = sp.lambdify([*self.coefficients, *self.inputs], expressions, "numpy", cse=True)
        return compiled

    def first(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return value (B, R) and first derivatives (B, K, R) for coefficients (B, K) and inputs (R, P)."""
        found = self._call(self._compiled_first, coefficients, inputs)
        return found[:, 0], found[:, 1:]

    def second(self, coefficients: Array, inputs: Array) -> tuple[Array, Array, Array]:
        """Return value (B, R), first (B, K, R) and second derivatives (B, K(K+1)/2, R), upper triangle by rows."""
        found = self._call(self._compiled_second, coefficients, inputs)
        count = len(self.coefficients)
        return found[:, 0], found[:, 1 : count + 1], found[:, count + 1 :]

    def _call(self, compiled: Compiled, coefficients: Array, inputs: Array) -> Array:
        """What a compiled function returns, (B, number of expressions, R)."""
        columns = [coefficients[:, k, None] for k in range(len(self.coefficients))]
        with np.errstate(all="ignore"):
            parts = compiled(*columns, *inputs.T)
        found = np.empty((len(coefficients), len(parts), len(inputs)))
        for k, part in enumerate(parts):
            found[:, k] = np.where(np.imag(part) == 0, np.real(part), np.nan) if np.iscomplexobj(part) else part
        return found

    def latex(self) -> str:
        """Return the law in LaTeX, inputs upright and coefficients as symbols."""
        names = {symbol: rf"\mathrm{{{str(symbol).replace('_', chr(92) + '_')}}}" for symbol in self.inputs}
        return str(sp.latex(self.expression, symbol_names=names))


@functools.lru_cache(maxsize=256)
def derive(
    expression: Expression,
    coefficients: tuple[tuple[str, bool], ...],
    inputs: tuple[tuple[str, bool], ...],
) -> Derived:
    """Return the derived functions of a formula.

    Parameters
    ----------
    expression : the law
    coefficients, inputs : names in the law's order, each with whether it is positive
    """
    symbols = {
        name: sp.Symbol(name, positive=True) if positive else sp.Symbol(name, real=True)
        for name, positive in [*coefficients, *inputs]
    }
    return Derived(
        to_sympy(expression, symbols),
        tuple(symbols[name] for name, _ in coefficients),
        tuple(symbols[name] for name, _ in inputs),
    )


def to_sympy(expression: Expression, symbols: dict[str, Any]) -> Any:
    """Return the expression in SymPy over the given symbols."""
    match expression:
        case Number(value):
            return sp.Integer(int(value)) if value == int(value) and abs(value) < 1e15 else sp.Float(value)
        case Symbol(name):
            return symbols[name]
        case Call(operation, arguments):
            return OPERATIONS[operation].symbolic(sp, *(to_sympy(argument, symbols) for argument in arguments))
