"""What a name means in OPTIMIZE and DESIGN: something to choose, what follows from it, a parameter, or a prediction.

Expressions are formulas, read by the parser that reads laws, and evaluated over many points at once. Beside the names
that OVER gives they know

- what the law predicts, by its target's name, and other saved laws as functions: `step(flops_per_step, …)`;
- the counts of a transformer's shape, once its width, depth and vocabulary are given (`planning.shape_counts`);
- `flops` and `steps` of a run, where these follow, and `seconds` by a time law.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UnknownName, did_you_mean, nearest
from isoflop.lakehouse.models.counts import SHAPE_OUTPUTS
from isoflop.queries.language.own_inputs import is_column
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law, saved_names
from isoflop.queries.language.syntax.nodes import Expression, Name, Span
from isoflop.queries.language.syntax.planning import OverValue
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.sizes import is_size
from isoflop.queries.language.syntax.tokens import Kind, Token, matching
from isoflop.queries.laws import FormulaError
from isoflop.queries.laws.algebra.expression import Expression as Tree
from isoflop.queries.laws.algebra.expression import Symbol, evaluate, symbols_of
from isoflop.queries.laws.algebra.parser import FUNCTIONS, match_name, parse_expression
from isoflop.queries.planning.shape_counts import NEEDED, OPTIONAL, shape_counts

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

PER_STEP = "step_seconds"  # target of a time law whose prediction is of one step
_STANDS_IN = 0xE000  # first of the characters that name parameters and calls; they are not typed


class _Named(dict[str, Array | float]):
    """Values by name; what follows from others is computed when it is asked for."""

    def __init__(self, values: dict[str, Array | float], follow: Callable[[_Named, str], Array]) -> None:
        super().__init__(values)
        self._follow = follow

    def __missing__(self, name: str) -> Array | float:
        self[name] = self._follow(self, name)
        return self[name]


@dataclass(frozen=True)
class _Reading:
    """A slice of the statement as a tree, with the values of its own stand-ins."""

    tree: Tree
    parameters: dict[str, float]
    calls: dict[str, Callable[[_Named], Array]]

    def value(self, named: _Named) -> Array:
        """Return the value over what is known."""
        calls = {name: call(named) for name, call in self.calls.items()}
        if not (calls or self.parameters):
            return evaluate(self.tree, named)
        wanted = {name: named[name] for name in symbols_of(self.tree) if name not in {**calls, **self.parameters}}
        return evaluate(self.tree, {**wanted, **self.parameters, **calls})


class Scope:
    """The names that the expressions of one OPTIMIZE or DESIGN may hold, for one law.

    Parameters
    ----------
    record : the law, whose prediction goes by its target's name or `predicted_` before it
    variables : what is chosen, in the order of the columns of a point
    each : name of the FOR EACH value, or None
    place : where the variables stand in the statement
    values : what OVER gives a value, in order; later ones see earlier ones
    time_law : the law behind `seconds`, or None

    Raises
    ------
    StatementError : when an input of the law is neither given nor follows from what is
    """

    def __init__(
        self,
        question: Question,
        record: LawRecord,
        variables: Sequence[str],
        each: str | None,
        place: Span,
        values: Sequence[OverValue] = (),
        time_law: LawRecord | None = None,
    ) -> None:
        self.question, self.record, self.time_law = question, record, time_law
        self.variables, self.each = tuple(variables), each
        self.given: tuple[str, ...] = (*variables, *([each] if each is not None else []))
        self.used: set[str] = set()
        self.each_value = float("nan")
        self.coefficients = record.fitted.coefficients
        self._predicted = (record.target, f"predicted_{record.target}")
        self._values: dict[str, _Reading] = {}
        later = tuple(assignment.name.text for assignment in values)
        self.follows: tuple[str, ...] = self._what_follows((*self.given, *later))
        for assignment in values:
            self._values[assignment.name.text] = self._read(assignment.value, (*self.given, *self.follows))
            self.given = (*self.given, assignment.name.text)
        self._times = self._read_time_law(place)
        self._inputs = self._read_inputs(record, place)

    @property
    def value_names(self) -> tuple[str, ...]:
        """The names that OVER gives a value."""
        return tuple(self._values)

    def _what_follows(self, given: Sequence[str]) -> tuple[str, ...]:
        """Return the names that need not be given because they follow from what is."""
        has_shape = all(match_name(name, given) is not None for name in NEEDED)
        found = list(SHAPE_OUTPUTS) if has_shape else []
        has_tokens = match_name("tokens", given) is not None
        if has_tokens and (has_shape or match_name("params", given) is not None):
            found.append("flops")
        if has_tokens and has_shape:
            found.append("steps")
        if self.time_law is not None:
            found.append("seconds")
        return tuple(name for name in found if match_name(name, given) is None)

    def _follow(self, named: _Named, name: str) -> Array:
        """Return a value that follows from others."""
        if name in self._predicted:
            return self._value_of(self.record, [reading.value(named) for reading in self._inputs], self.coefficients)
        match name:
            case "flops" if "params" in self.given:
                return np.asarray(6.0 * named["params"] * named["tokens"])
            case "flops":
                return np.asarray(named["flops_per_token"] * named["tokens"])
            case "steps":
                return np.asarray(named["tokens"] / named["tokens_per_step"])
            case "seconds":
                assert self.time_law is not None
                columns = [reading.value(named) for reading in self._times]
                one = self._value_of(self.time_law, columns, self.time_law.fitted.coefficients)
                return one * named["steps"] if self.time_law.target == PER_STEP else one
            case _:
                settings = {each: named[each] for each in (*NEEDED, *OPTIONAL) if each in self.given}
                named.update(shape_counts(settings))
                return np.asarray(named[name])

    def _read_inputs(self, record: LawRecord, place: Span) -> list[_Reading]:
        """Return each input of a law over the known names."""
        known = (*self.given, *self.follows)
        found, missing = [], []
        for input_, argument in zip(record.law.inputs, record.arguments, strict=True):
            name = match_name(input_.name, known) if is_column(argument) else None
            text = f'"{name}"' if name is not None else argument
            try:
                tree = parse_expression(text, known)
            except FormulaError:
                missing.append(input_.name)
                continue
            self._use(tree)
            found.append(_Reading(tree, {}, {}))
        if missing:
            message = f"{record.title} needs {', '.join(record.inputs)}, and OVER gives {', '.join(self.given)}"
            hint = f"add {', '.join(f'{name} IN [1e7, 1e12] LOG' for name in missing)}"
            raise self.question.error("Binder", message, place, hint)
        return found

    def _read_time_law(self, place: Span) -> list[_Reading]:
        """Return the inputs of the time law: those of one step where it predicts one."""
        law = self.time_law
        if law is None:
            return []
        known = (*self.given, *self.follows)
        found = []
        for input_, argument in zip(law.law.inputs, law.arguments, strict=True):
            # Totals over the run, where the law itself divides them by the steps; else those of a step.
            is_total = law.target != PER_STEP or "steps" in law.inputs
            per_step = input_.name if is_total else f"{input_.name}_per_step"
            name = match_name(per_step, known) or match_name(input_.name, known)
            name = name if is_column(argument) else None
            try:
                tree = parse_expression(f'"{name}"' if name is not None else argument, known)
            except FormulaError:
                message = f"{law.title} needs {', '.join(law.inputs)}, and OVER gives {', '.join(self.given)}"
                hint = "give width, depth and vocabulary, or each input: flops_per_step = …"
                raise self.question.error("Binder", message, place, hint) from None
            self._use(tree)
            found.append(_Reading(tree, {}, {}))
        return found

    def _use(self, tree: Tree) -> None:
        """Remember which names an expression needs, those behind what follows included."""
        names = set(symbols_of(tree))
        if names & {*SHAPE_OUTPUTS, "flops", "steps"} & set(self.follows):
            names |= {*NEEDED, *OPTIONAL, "params", "tokens"}
        self.used |= names

    # Expressions

    def function(self, expression: Expression) -> Function:
        """Return a slice of the statement as a function of (M, V) points.

        Raises
        ------
        UnknownName : for a name that means nothing here
        FormulaError : when it is no arithmetic expression
        """
        reading = self._read(expression, (*self.given, *self.follows, *self._predicted))
        return lambda points: reading.value(self.named(points))

    def prediction(self) -> Function:
        """Return what the law predicts as a function of (M, V) points."""
        tree = Symbol(self._predicted[-1])
        self._use(tree)
        return lambda points: evaluate(tree, self.named(points))

    def _read(self, expression: Expression, known: Sequence[str]) -> _Reading:
        """Return a slice of the statement over known names."""
        text, calls, inside = self._without_calls(expression, known)
        self._check_names(expression, known, inside)
        text, parameters = self._without_parameters(expression, text, inside)
        try:
            tree = parse_expression(text, (*known, *parameters, *calls))
        except FormulaError as error:
            raise error.within(self.question.text, expression.start) from None
        except RecursionError:
            raise self.question.error("Parser", "the expression is nested too deeply", expression) from None
        self._use(tree)
        return _Reading(tree, parameters, calls)

    def use(self, coefficients: Array) -> None:
        """Predict with other (K,) coefficients of the law from now on."""
        self.coefficients = coefficients

    def inputs(self, points: Array) -> Array:
        """Return the (M, P) inputs of the law at (M, V) points."""
        named = self.named(points)
        return np.stack([np.broadcast_to(reading.value(named), len(points)) for reading in self._inputs], axis=1)

    def values(self, points: Array) -> dict[str, Array]:
        """Return what OVER gives a value, (M,) at (M, V) points, by name."""
        named = self.named(points)
        return {name: np.broadcast_to(named[name], len(points)) for name in self._values}

    def named(self, points: Array) -> _Named:
        """Return the values of all names at (M, V) points."""
        given: dict[str, Array | float] = dict(zip(self.variables, points.T, strict=True))
        if self.each is not None:
            given[self.each] = self.each_value
        named = _Named(given, self._follow)
        for name, reading in self._values.items():
            named[name] = reading.value(named)
        return named

    def _value_of(self, record: LawRecord, columns: Sequence[Array], coefficients: Array) -> Array:
        """Return the (M,) predictions of a law."""
        inputs = np.stack(np.broadcast_arrays(*(np.atleast_1d(column) for column in columns)), axis=1)
        with np.errstate(all="ignore"):
            return np.asarray(record.law.predict(coefficients, inputs), dtype=np.float64)

    def _check_names(self, expression: Expression, known: Sequence[str], inside: set[int]) -> None:
        """Check that every name in a slice is one of those known, functions aside."""
        tokens = self.question.tokens
        for index in range(expression.first, expression.last):
            token = tokens[index]
            is_call = tokens[min(index + 1, len(tokens) - 1)].text == "("
            if index in inside or not token.is_name or is_call or match_name(token.name, known) is not None:
                continue
            shown = ", ".join(each for each in known if each != self._predicted[1])
            hint = did_you_mean(token.name, known, f"known here: {shown}")
            message = f"'{token.name}' is neither given by OVER or FOR EACH nor predicted by {self.record.title}"
            raise UnknownName("Binder", message, self.question.text, token.start, token.end, hint=hint)

    def _without_calls(
        self, expression: Expression, known: Sequence[str]
    ) -> tuple[str, dict[str, Callable[[_Named], Array]], set[int]]:
        """Return a slice with a name of the same length for each saved law that it calls, and what these names mean."""
        tokens, text = self.question.tokens, expression.text
        calls: dict[str, Callable[[_Named], Array]] = {}
        inside: set[int] = set()
        index = expression.first
        while index < expression.last:
            token = tokens[index]
            is_call = index + 1 < expression.last and token.is_name and tokens[index + 1].text == "("
            if not is_call or token.name.lower() in (*FUNCTIONS, "pi") or not self._is_law(token):
                index += 1
                continue
            close = matching(tokens, index + 1)
            length = tokens[close].end - token.start
            name = chr(_STANDS_IN + index % 6000).ljust(length, "_")
            calls[name] = self._call(Name(token.start, token.end, token.name), index, close, known)
            start = token.start - expression.start
            text = text[:start] + name + text[start + length :]
            inside.update(range(index, close + 1))
            index = close + 1
        return text, calls, inside

    def _is_law(self, token: Token) -> bool:
        """Whether a function is a saved law; one that is only misspelled is an error."""
        laws = saved_names(self.question.lake)
        if match_name(token.name, laws) is not None:
            return True
        if nearest(token.name, laws) is None:
            return False
        message = f"'{token.name}' is not a function a formula can use, nor a law"
        hint = did_you_mean(token.name, laws)
        raise UnknownName("Catalog", message, self.question.text, token.start, token.end, hint=hint)

    def _call(self, name: Name, first: int, close: int, known: Sequence[str]) -> Callable[[_Named], Array]:
        """Return the prediction of a saved law that is called like a function."""
        record = load_law(self.question, name)
        reader = TokenReader(self.question.text, self.question.tokens, first + 2, close)
        arguments = []
        while not reader.at_end:
            arguments.append(self._read(reader.expression("an argument", ","), known))
            if not reader.accept(","):
                break
        wanted = len(record.inputs)
        if len(arguments) != wanted:
            message = f"{record.title} takes {wanted} argument{'s' * (wanted != 1)}, got {len(arguments)}"
            hint = f"write {record.name}({', '.join(record.inputs)})"
            place = Span(name.start, self.question.tokens[close].end)
            raise self.question.error("Binder", message, place, hint)
        is_own = record.name == self.record.name and record.version == self.record.version

        def predicted(named: _Named) -> Array:
            coefficients = self.coefficients if is_own else record.fitted.coefficients
            return self._value_of(record, [argument.value(named) for argument in arguments], coefficients)

        return predicted

    def _without_parameters(self, expression: Expression, text: str, inside: set[int]) -> tuple[str, dict[str, float]]:
        """Return a slice with a name of the same length for each parameter and size, and the values of these names."""
        values = {}
        for index in range(expression.first, expression.last):
            token = self.question.tokens[index]
            if not (token.kind is Kind.PARAMETER or is_size(token)) or index in inside:
                continue
            start, length = token.start - expression.start, token.end - token.start
            if is_size(token):
                name = chr(_STANDS_IN + index % 6000).ljust(length, "_")
                values[name] = float(token.text)
                text = text[:start] + name + text[start + length :]
                continue
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
