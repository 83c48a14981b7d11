"""Units by inference: how each coefficient must grow when an input is measured in other units.

If `params` is counted in billions, `A / params ^ alpha` keeps its value when A is divided by `1e9 ^ alpha`: A has
degree alpha in params. A law whose coefficients can absorb every such change is fitted on inputs divided by their
geometric mean, so that its conditioning does not depend on the units that were chosen. The degrees follow from the
tree alone: both sides of a sum have the same degree, factors add theirs, arguments of exp and ln have none.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isoflop.queries.laws.algebra.expression import Call, Expression, Number, Symbol, evaluate, symbols_of

ZERO = Number(0.0)
ONE = Number(1.0)


class _Inconsistent(Exception):
    """No assignment of degrees makes the formula homogeneous."""


def degrees(expression: Expression, dimension: str | None, coefficients: Iterable[str]) -> dict[str, Expression] | None:
    """Return the degree of every coefficient in one input, or None when the law is not homogeneous in it.

    Parameters
    ----------
    expression : the law
    dimension : name of an input, or None for the unit of the law's own value
    coefficients : names of the coefficients that may absorb a change of unit

    Returns
    -------
    degree by coefficient, as an expression over the other coefficients: dividing the input by s multiplies the
    coefficient by `s ^ -degree`. Coefficients of degree zero are left out.

    Example
    -------
    >>> from isoflop.queries.laws.algebra.parser import parse_expression
    >>> degrees(parse_expression("E + A / x ^ alpha"), "x", ["E", "A", "alpha"])
    {'A': Symbol(name='alpha')}
    """
    free = frozenset(coefficients)
    inference = _Inference(dimension, free, _in_exponents(expression, free))
    try:
        # What follows from the tree first, then what is free to be chosen; with every degree known, all must agree.
        for inference.may_choose in (False, True, True):
            inference.require(expression, ONE if dimension is None else ZERO)
    except _Inconsistent:
        return None
    return {name: degree for name, degree in inference.known.items() if not _equal(degree, ZERO)}


def _in_exponents(expression: Expression, free: frozenset[str]) -> frozenset[str]:
    """Coefficients that stand in an exponent without inputs; these are pure numbers."""
    found: set[str] = set()
    if isinstance(expression, Call):
        for argument in expression.arguments:
            found |= _in_exponents(argument, free)
        if expression.operation == "power":
            names = set(symbols_of(expression.arguments[1]))
            found |= names if names <= free else set()
    return frozenset(found)


class _Inference:
    """Degrees of the coefficients found so far, with the two mutually recursive rules."""

    def __init__(self, dimension: str | None, free: frozenset[str], exponents: frozenset[str]) -> None:
        self.dimension = dimension
        self.free = free
        self.known: dict[str, Expression] = dict.fromkeys(exponents, ZERO)
        self.may_choose = False

    def degree(self, node: Expression) -> Expression | None:
        """The degree of a node, or None while an unknown coefficient decides it."""
        match node:
            case Number():
                return ZERO
            case Symbol(name) if name in self.free:
                return self.known.get(name)
            case Symbol(name):
                return ONE if name == self.dimension else ZERO
            case Call("add" | "subtract" | "greatest" | "least", arguments):
                found = [self.degree(argument) for argument in arguments]
                first = next((degree for degree in found if degree is not None), None)
                if first is not None:
                    for argument in arguments:
                        self.require(argument, first)
                return first
            case Call("negate" | "abs", (argument,)):
                return self.degree(argument)
            case Call("multiply" | "divide" as operation, (left, right)):
                first, second = self.degree(left), self.degree(right)
                if first is None or second is None:
                    return None
                return _plus(first, second) if operation == "multiply" else _minus(first, second)
            case Call("sqrt" | "cbrt" as operation, (argument,)):
                inner = self.degree(argument)
                return None if inner is None else _over(inner, Number(2.0 if operation == "sqrt" else 3.0))
            case Call("power", (base, exponent)) if set(symbols_of(exponent)) <= self.free:
                inner = self.degree(base)
                return None if inner is None else _times(inner, exponent)
            case Call(_, arguments):
                for argument in arguments:
                    self.require(argument, ZERO)
                return ZERO

    def require(self, node: Expression, wanted: Expression) -> None:
        """Make the degree of a node be `wanted`, giving unknown coefficients theirs, or fail."""
        match node:
            case Symbol(name) if name in self.free and name not in self.known:
                self.known[name] = wanted
                return
            case Call("add" | "subtract" | "greatest" | "least" | "negate" | "abs", arguments):
                for argument in arguments:
                    self.require(argument, wanted)
                return
            case Call("multiply" | "divide" as operation, (left, right)):
                first, second = self.degree(left), self.degree(right)
                if first is None and second is None:
                    if not self.may_choose:
                        return
                    self.require(left if operation == "multiply" else right, ZERO)
                    first, second = self.degree(left), self.degree(right)
                if first is None and second is not None:
                    self.require(left, _minus(wanted, second) if operation == "multiply" else _plus(wanted, second))
                    return
                if second is None and first is not None:
                    self.require(right, _minus(wanted, first) if operation == "multiply" else _minus(first, wanted))
                    return
            case Call("sqrt" | "cbrt" as operation, (argument,)) if self.degree(argument) is None:
                self.require(argument, _times(wanted, Number(2.0 if operation == "sqrt" else 3.0)))
                return
            case Call("power", (base, exponent)) if set(symbols_of(exponent)) <= self.free:
                if self.degree(base) is None:
                    self.require(base, _over(wanted, exponent))
                    return
        found = self.degree(node)
        if found is None and not self.may_choose:
            return
        if found is None or not _equal(found, wanted):
            raise _Inconsistent


def _plus(left: Expression, right: Expression) -> Expression:
    return right if left == ZERO else left if right == ZERO else Call("add", (left, right))


def _minus(left: Expression, right: Expression) -> Expression:
    if right == ZERO:
        return left
    return Call("negate", (right,)) if left == ZERO else Call("subtract", (left, right))


def _times(left: Expression, right: Expression) -> Expression:
    if ZERO in (left, right):
        return ZERO
    return right if left == ONE else left if right == ONE else Call("multiply", (left, right))


def _over(left: Expression, right: Expression) -> Expression:
    return ZERO if left == ZERO else Call("divide", (left, right))


def _equal(left: Expression, right: Expression) -> bool:
    """Whether two degrees agree, judged at a few values of the coefficients in them."""
    names = sorted(set(symbols_of(left)) | set(symbols_of(right)))
    draws = np.random.default_rng(0).uniform(0.3, 1.7, size=(len(names), 4))
    values = dict(zip(names, draws, strict=True))
    return bool(np.allclose(evaluate(left, values), evaluate(right, values), rtol=1e-9, atol=1e-12))
