"""What a name means in OPTIMIZE: something to choose, the FOR EACH value, a parameter, or what the law predicts.

Expressions are formulas, read by the parser that reads laws, and evaluated over many points at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UnknownName, did_you_mean
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.syntax.nodes import Expression, Span
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.laws import FormulaError
from isoflop.queries.laws.algebra.expression import Expression as Tree
from isoflop.queries.laws.algebra.expression import evaluate, symbols_of
from isoflop.queries.laws.algebra.parser import match_name, parse_expression

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

_STANDS_IN = 0xE000  # first of the characters that name parameters; people do not type them


class Scope:
    """The names that the expressions of one OPTIMIZE may hold, for one law.

    Parameters
    ----------
    record : the law, whose prediction goes by its target's name or `predicted_` before it
    variables : what is chosen, in the order of the columns of a point
    each : name of the FOR EACH value, or None
    place : where the variables stand in the statement

    Raises
    ------
    StatementError : when an input of the law is neither given nor follows from what is
    """

    def __init__(
        self, question: Question, record: LawRecord, variables: Sequence[str], each: str | None, place: Span
    ) -> None:
        self.question, self.record = question, record
        self.variables, self.each = tuple(variables), each
        self.given = (*variables, *([each] if each is not None else []))
        self.used: set[str] = set()
        self.each_value = float("nan")
        self._predicted = (record.target, f"predicted_{record.target}")
        self._parameters: dict[str, float] = {}
        self._inputs = self._read_inputs(place)

    def _read_inputs(self, place: Span) -> list[Tree]:
        """Return each input of the law over the given names."""
        found, missing = [], []
        for one, argument in zip(self.record.law.inputs, self.record.arguments, strict=True):
            name = match_name(one.name, self.given)
            text = f'"{name}"' if name is not None else argument
            try:
                tree = parse_expression(text, self.given)
            except FormulaError:
                missing.append(one.name)
                continue
            self.used.update(symbols_of(tree))
            found.append(tree)
        if missing:
            message = (
                f"{self.record.title} needs {', '.join(self.record.inputs)}, and OVER gives {', '.join(self.given)}"
            )
            hint = f"add {', '.join(f'{name} IN [1e7, 1e12] LOG' for name in missing)}"
            raise self.question.error("Binder", message, place, hint)
        return found

    def function(self, expression: Expression) -> Function:
        """Return a slice of the statement as a function of (M, V) points.

        Raises
        ------
        UnknownName : for a name that means nothing here
        FormulaError : when it is no arithmetic expression
        """
        known = (*self.given, *self._predicted)
        self._check_names(expression, known)
        text, parameters = self._without_parameters(expression)
        self._parameters.update(parameters)
        try:
            tree = parse_expression(text, (*known, *parameters))
        except FormulaError as error:
            raise error.within(self.question.text, expression.start) from None
        except RecursionError:
            raise self.question.error("Parser", "the expression is nested too deeply", expression) from None
        symbols = symbols_of(tree)
        self.used.update(symbols)
        predicts = any(name in symbols for name in self._predicted if name not in self.given)

        def values(points: Array) -> Array:
            named = self._named(points)
            if predicts:
                predicted = self.predict(points)
                named = {**dict.fromkeys(self._predicted, predicted), **named}
            return evaluate(tree, {**self._parameters, **named})

        return values

    def inputs(self, points: Array) -> Array:
        """Return the (M, P) inputs of the law at (M, V) points."""
        named = self._named(points)
        columns = [np.broadcast_to(evaluate(tree, named), len(points)) for tree in self._inputs]
        return np.stack(columns, axis=1)

    def predict(self, points: Array) -> Array:
        """Return the (M,) predictions of the law at (M, V) points."""
        fitted = self.record.fitted
        with np.errstate(all="ignore"):
            return np.asarray(fitted.law.predict(fitted.coefficients, self.inputs(points)), dtype=np.float64)

    def _named(self, points: Array) -> dict[str, Array | float]:
        named: dict[str, Array | float] = dict(zip(self.variables, points.T, strict=True))
        if self.each is not None:
            named[self.each] = self.each_value
        return named

    def _check_names(self, expression: Expression, known: Sequence[str]) -> None:
        """Check that every name in a slice is one of those known, functions aside."""
        tokens = self.question.tokens
        for index in range(expression.first, expression.last):
            token = tokens[index]
            is_call = tokens[min(index + 1, len(tokens) - 1)].text == "("
            if not token.is_name or is_call or match_name(token.name, known) is not None:
                continue
            hint = did_you_mean(token.name, known, f"known here: {', '.join(known[:-1])}")
            message = f"'{token.name}' is neither given by OVER or FOR EACH nor predicted by {self.record.title}"
            raise UnknownName("Binder", message, self.question.text, token.start, token.end, hint=hint)

    def _without_parameters(self, expression: Expression) -> tuple[str, dict[str, float]]:
        """Return a slice with a name of the same length for each parameter, and the values of these names."""
        text, values = expression.text, {}
        for index in range(expression.first, expression.last):
            token = self.question.tokens[index]
            if token.kind is not Kind.PARAMETER:
                continue
            start = token.start - expression.start
            if self.each is not None and token.text[1:].lower() == self.each.lower():
                text = f"{text[:start]} {self.each}{text[start + len(token.text) :]}"  # $budget of FOR EACH budget
                continue
            value = self.question.parameter(index)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self.question.error("Binder", f"parameter {token.text} is a number here, got {value!r}", token)
            name = chr(_STANDS_IN + index % 6000) + token.text[1:]
            values[name] = float(value)
            text = text[:start] + name + text[start + len(token.text) :]
        return text, values
