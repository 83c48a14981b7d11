"""Sums of powers: whether a formula is one, and its terms when it is.

`E + A / params ^ alpha + B / tokens ^ beta` is a sum of terms `c * product(input ^ exponent)`. In logarithms of
its amplitudes such a law is a log-sum-exp of linear functions, for which the solver has closed-form first and
second derivatives. Detection works on the tree, so no SymPy is needed to fit the usual laws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from isoflop.queries.laws.algebra.expression import Call, Expression, Number, Symbol, symbols_of


@dataclass(frozen=True)
class Affine:
    """`constant + sum(weight * coefficient)`: the exponent of an input."""

    constant: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)

    def plus(self, other: Affine, sign: float = 1.0) -> Affine:
        """Return the sum with `sign` times another."""
        weights = dict(self.weights)
        for name, weight in other.weights.items():
            weights[name] = weights.get(name, 0.0) + sign * weight
        return Affine(self.constant + sign * other.constant, {k: w for k, w in weights.items() if w != 0.0})

    def times(self, factor: float) -> Affine:
        """Return the multiple by a number."""
        return Affine(self.constant * factor, {k: w * factor for k, w in self.weights.items()})


@dataclass(frozen=True)
class Term:
    """`number * amplitude * product(input ^ exponent)`, with at most one amplitude, to the power one.

    Parameters
    ----------
    number : positive constant
    amplitude : name of the coefficient in front, or None
    exponents : per input, its exponent as a function of the coefficients
    """

    number: float
    amplitude: str | None
    exponents: Mapping[str, Affine]


@dataclass(frozen=True)
class _Monomial:
    """A term while it is being collected: any product of powers."""

    number: float
    coefficients: Mapping[str, float]
    exponents: Mapping[str, Affine]

    def times(self, other: _Monomial) -> _Monomial:
        coefficients = dict(self.coefficients)
        for name, power in other.coefficients.items():
            coefficients[name] = coefficients.get(name, 0.0) + power
        exponents = dict(self.exponents)
        for name, exponent in other.exponents.items():
            exponents[name] = exponents.get(name, Affine()).plus(exponent)
        return _Monomial(self.number * other.number, coefficients, exponents)


def power_sum(expression: Expression, coefficients: Iterable[str]) -> tuple[Term, ...] | None:
    """Return the terms of a sum of powers, or None when the formula has another shape.

    Parameters
    ----------
    expression : the law
    coefficients : names of its free numbers; every other symbol is an input

    Returns
    -------
    terms in the order written. Every number is positive, an amplitude belongs to one term and is no exponent.

    Example
    -------
    >>> from isoflop.queries.laws.algebra.parser import parse_expression
    >>> law = parse_expression("E + A / x ^ alpha")
    >>> [(term.amplitude, dict(term.exponents)) for term in power_sum(law, ["E", "A", "alpha"])]
    [('E', {}), ('A', {'x': Affine(constant=0.0, weights={'alpha': -1.0})})]
    """
    names = frozenset(coefficients)
    monomials = _expand(expression, names)
    if monomials is None:
        return None
    terms: list[Term] = []
    amplitudes: list[str] = []
    for monomial in monomials:
        powers = {name: power for name, power in monomial.coefficients.items() if power != 0.0}
        if monomial.number <= 0.0 or len(powers) > 1 or any(power != 1.0 for power in powers.values()):
            return None
        amplitude = next(iter(powers), None)
        amplitudes += [amplitude] if amplitude else []
        terms.append(Term(monomial.number, amplitude, monomial.exponents))
    used_as_exponent = {name for term in terms for power in term.exponents.values() for name in power.weights}
    if len(set(amplitudes)) < len(amplitudes) or used_as_exponent & set(amplitudes):
        return None
    return tuple(terms)


def _expand(expression: Expression, names: frozenset[str]) -> list[_Monomial] | None:
    """The expression as a sum of monomials, or None."""
    match expression:
        case Number(value):
            return [_Monomial(value, {}, {})]
        case Symbol(name) if name in names:
            return [_Monomial(1.0, {name: 1.0}, {})]
        case Symbol(name):
            return [_Monomial(1.0, {}, {name: Affine(1.0)})]
        case Call("add", (left, right)):
            return _sum(_expand(left, names), _expand(right, names))
        case Call("subtract", (left, right)):
            return _sum(_expand(left, names), _negated(_expand(right, names)))
        case Call("negate", (argument,)):
            return _negated(_expand(argument, names))
        case Call("multiply", (left, right)):
            first, second = _expand(left, names), _expand(right, names)
            return None if first is None or second is None else [a.times(b) for a in first for b in second]
        case Call("divide", (left, right)):
            first, inverse = _expand(left, names), _raised(_expand(right, names), Affine(-1.0))
            return None if first is None or inverse is None else [a.times(inverse) for a in first]
        case Call("power", (base, exponent)):
            raised = _raised(_expand(base, names), _affine(exponent, names))
            return None if raised is None else [raised]
        case Call("sqrt", (base,)):
            raised = _raised(_expand(base, names), Affine(0.5))
            return None if raised is None else [raised]
        case _:
            return None


def _sum(left: list[_Monomial] | None, right: list[_Monomial] | None) -> list[_Monomial] | None:
    return None if left is None or right is None else left + right


def _negated(monomials: list[_Monomial] | None) -> list[_Monomial] | None:
    return None if monomials is None else [m.times(_Monomial(-1.0, {}, {})) for m in monomials]


def _raised(base: list[_Monomial] | None, power: Affine | None) -> _Monomial | None:
    """A single monomial to a power: a number, or a function of the coefficients when the base is inputs only."""
    if base is None or power is None or len(base) != 1:
        return None
    only = base[0]
    if not power.weights:
        if only.number <= 0.0:
            return None
        return _Monomial(
            only.number**power.constant,
            {name: p * power.constant for name, p in only.coefficients.items()},
            {name: e.times(power.constant) for name, e in only.exponents.items()},
        )
    if only.number != 1.0 or only.coefficients or any(e.weights for e in only.exponents.values()):
        return None
    return _Monomial(1.0, {}, {name: power.times(e.constant) for name, e in only.exponents.items()})


def _affine(expression: Expression, names: frozenset[str]) -> Affine | None:
    """The exponent as constant plus weighted coefficients, or None; an input in it makes it None."""
    if not set(symbols_of(expression)) <= names:
        return None
    match expression:
        case Number(value):
            return Affine(value)
        case Symbol(name):
            return Affine(0.0, {name: 1.0})
        case Call("negate", (argument,)):
            inner = _affine(argument, names)
            return None if inner is None else inner.times(-1.0)
        case Call("add" | "subtract" as operation, (left, right)):
            first, second = _affine(left, names), _affine(right, names)
            if first is None or second is None:
                return None
            return first.plus(second, 1.0 if operation == "add" else -1.0)
        case Call("multiply", (left, right)):
            first, second = _affine(left, names), _affine(right, names)
            if first is None or second is None or (first.weights and second.weights):
                return None
            return second.times(first.constant) if not first.weights else first.times(second.constant)
        case Call("divide", (left, Number(value))) if value != 0.0:
            first = _affine(left, names)
            return None if first is None else first.times(1.0 / value)
        case _:
            return None
