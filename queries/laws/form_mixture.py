"""Several forms of one curve, each with a weight: what is fitted where nobody knows which form is right.

    loss(x) = sum_k weight_k f_k(x),    weights >= 0 and 1 together

The coefficients are those of all forms, called after the form (`power_alpha`), each form's weight before its own. One
set of coefficients may also be one form alone, its weight 1 and the others 0: the draws of a mixture are such sets,
so that their spread holds the disagreement of the forms. A form of weight 0 is not asked: it may have no number where
the others have one.

>>> import numpy as np
>>> from isoflop.queries.laws.plain_power import PLAIN_POWER
>>> from isoflop.queries.laws.power import POWER
>>> both = FormMixture("auto", [PLAIN_POWER, POWER])
>>> [coefficient.name for coefficient in both.coefficients]
['plain_power_weight', 'plain_power_A', 'plain_power_alpha', 'power_weight', 'power_E', 'power_A', 'power_alpha']
>>> both.predict(np.array([0.5, 8.0, 0.5, 0.5, 1.0, 8.0, 0.5]), np.array([[4.0]]))
array([4.5])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.law import Coefficient, Cost, Law, Rewrite, Role, input_names


class FormMixture(Law):
    """A weighted mean of forms.

    Parameters
    ----------
    name : the word a statement uses for it
    forms : with as many inputs each, in one order; inputs and target are called as the first's
    titles : what the forms are called, all different; their own names when None
    """

    def __init__(self, name: str, forms: Sequence[Law], titles: Sequence[str] | None = None) -> None:
        self.name, self.forms = name, tuple(forms)
        self.titles = tuple(form.name for form in self.forms) if titles is None else tuple(titles)
        first = self.forms[0]
        self.target, self.unit, self.objective = first.target, first.unit, first.objective
        self.source = "weights as in Buckland et al. 1997, Biometrics 53, 603"
        self.cost = Cost.COSTLY if any(form.is_costly for form in self.forms) else Cost.CHEAP
        self.inputs = tuple(
            replace(given, positive=any(form.inputs[p].positive for form in self.forms))
            for p, given in enumerate(first.inputs)
        )
        found: list[Coefficient] = []
        for title, form in zip(self.titles, self.forms, strict=True):
            found.append(Coefficient(f"{title}_weight", Role.FREE, 0.0, 1.0))
            found += [
                replace(coefficient, name=f"{title}_{coefficient.name}", init=None, fixed=None)
                for coefficient in form.coefficients
            ]
        self.coefficients = tuple(found)

    @property
    def places(self) -> tuple[tuple[int, slice], ...]:
        """Where the weight and the coefficients of each form stand among all."""
        found, first = [], 0
        for form in self.forms:
            last = first + 1 + len(form.coefficients)
            found.append((first, slice(first + 1, last)))
            first = last
        return tuple(found)

    @property
    def formula(self) -> str:
        """How it is written for display."""
        names = ", ".join(input_names(self))
        return f"{self.name}({names}), a weighted mean of {', '.join(self.titles)}"

    @property
    def predictions_per_slope(self) -> int:
        """Predictions that `value_and_slopes` takes."""
        return max(form.predictions_per_slope for form in self.forms)

    def of_forms(self, titles: Sequence[str]) -> FormMixture:
        """Return the mixture of some of the forms, with inputs and target called as here."""
        pairs = [(form, title) for form, title in zip(self.forms, self.titles, strict=True) if title in titles]
        return self._called_alike(FormMixture(self.name, *zip(*pairs, strict=True)))

    @property
    def num_free(self) -> int:
        """Coefficients of the form that has most of them."""
        return max(len(form.coefficients) for form in self.forms)

    def latex(self) -> str:
        """Return the law in LaTeX, the forms by their names."""
        names = ", ".join(rf"\mathrm{{{_escaped(name)}}}" for name in input_names(self))
        terms = [
            rf"w_{{\mathrm{{{_escaped(title)}}}}} \, \mathrm{{{_escaped(title)}}}({names})" for title in self.titles
        ]
        return rf"\mathrm{{{_escaped(self.target)}}} = {' + '.join(terms)}"

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return predictions (..., R) in the target's unit for coefficients (..., K) and inputs (R, P)."""
        coefficients, inputs = np.asarray(coefficients, dtype=np.float64), np.asarray(inputs, dtype=np.float64)
        flat = coefficients.reshape(-1, coefficients.shape[-1])
        found = np.zeros((len(flat), len(inputs)))
        for k, weight, own, asked in self._asked(flat):
            with np.errstate(all="ignore"):
                found[asked] += weight[:, None] * np.asarray(self.forms[k].predict(own, inputs))
        return found.reshape(*coefficients.shape[:-1], len(inputs))

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., K, R) of the prediction by the coefficients, of weights as if they were free."""
        return self.value_and_slopes(coefficients, inputs)[1]

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return predictions (..., R) and their derivatives (..., K, R)."""
        coefficients, inputs = np.asarray(coefficients, dtype=np.float64), np.asarray(inputs, dtype=np.float64)
        flat = coefficients.reshape(-1, coefficients.shape[-1])
        values = np.zeros((len(flat), len(inputs)))
        slopes = np.zeros((*flat.shape, len(inputs)))
        for k, weight, own, asked in self._asked(flat):
            form, (first, rest) = self.forms[k], self.places[k]
            with np.errstate(all="ignore"):
                value, slope = form.value_and_slopes(own, inputs)
            values[asked] += weight[:, None] * value
            slopes[asked, first] = value
            slopes[asked, rest] = weight[:, None, None] * slope
        shape = coefficients.shape
        return values.reshape(*shape[:-1], len(inputs)), slopes.reshape(*shape, len(inputs))

    def _asked(self, flat: Array) -> Iterator[tuple[int, Array, Array, NDArray[np.intp]]]:
        """Positions of forms with a weight in some of the sets (B, K): weights and own coefficients there, and which.

        A set in which no form has a weight, or one has none that is a number, is answered by every form: nan.
        """
        weights = flat[:, [first for first, _ in self.places]]
        strange = ~np.isfinite(weights).all(axis=1) | (weights == 0).all(axis=1)
        for k, (first, rest) in enumerate(self.places):
            asked = np.flatnonzero((flat[:, first] != 0) | strange)
            if asked.size:
                weight = np.asarray(np.where(strange[asked], np.nan, flat[asked, first]), dtype=np.float64)
                yield k, weight, flat[asked, rest], asked

    def sql(self, coefficients: Sequence[str], inputs: Sequence[str]) -> str | None:
        """Return SQL that computes the law; None where SQL cannot compute one of the forms.

        Parameters
        ----------
        coefficients : K texts, SQL of type DOUBLE for each coefficient
        inputs : P texts, SQL of type DOUBLE for each input
        """
        terms = []
        for form, (first, rest) in zip(self.forms, self.places, strict=True):
            body = form.sql(coefficients[rest], inputs)
            if body is None:
                return None
            weight = coefficients[first]
            terms.append(f"CASE WHEN {weight} = 0e0 THEN 0e0 ELSE {weight} * ({body}) END")
        return f"({' + '.join(terms)})"

    def with_coefficients(self, coefficients: tuple[Coefficient, ...], *, keeps_chart: bool = False) -> Law | None:
        """Return None: the domains are those of the forms."""
        return None

    def renamed(self, inputs: Sequence[str], target: str, unit: str, rewrite: Rewrite) -> Law:
        """Return the mixture in the words of a table.

        Parameters
        ----------
        inputs : P names
        target, unit : of what it predicts
        rewrite : takes a formula and new names by old ones to the formula with its names exchanged
        """
        made = self._called_alike(FormMixture(self.name, self.forms, self.titles))
        made.inputs = tuple(replace(given, name=name) for given, name in zip(self.inputs, inputs, strict=True))
        made.target, made.unit = target, self.unit if target == self.target else unit
        return made

    def _called_alike(self, made: FormMixture) -> FormMixture:
        """A mixture with inputs and target called as here."""
        made.inputs, made.target, made.unit = self.inputs, self.target, self.unit
        return made


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")
