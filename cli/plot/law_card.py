"""A fitted law as the lake keeps it: coefficients with intervals, the runs it saw, how the fit went."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.cli.plot.run_figures import identifier
from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.lakehouse.sql.quoting import literal
from isoflop.lakehouse.units import UNITS

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

FLOORS = ("E", "c_0", "L_inf")
"""Names that laws give to what no budget removes."""

SIZES, AMOUNTS = ("params", "params_non_embedding", "n"), ("tokens", "d")
"""Usual names to the size of a model and to the amount of its data, in lower case."""

PUBLISHED = "published:"
"""What the name of a law of a paper begins with."""

GIVEN = "given"
"""Status of a law whose coefficients were said, not fitted."""

USUAL = {
    "params": (1e7, 1e11), "params_non_embedding": (1e7, 1e11), "n": (1e7, 1e11), "tokens": (1e9, 1e13),
    "d": (1e9, 1e13), "unique_tokens": (1e9, 1e12), "tokens_per_param": (5.0, 500.0), "epochs": (1.0, 100.0),
    "flops": (1e18, 1e25), "steps": (1e3, 1e6), "batch": (16.0, 16384.0), "loss": (1.5, 4.0),
    "weight_bits": (2.0, 16.0), "activation_bits": (2.0, 16.0), "kv_bits": (2.0, 16.0), "post_bits": (2.0, 16.0),
}  # fmt: skip
"""Where a law without rows is drawn, by input: about what is trained."""

ANYTHING = (1.0, 1e3)
"""The same for an input of another name."""

LAWS_STATEMENT = """\
SELECT * FROM laws
QUALIFY row_number() OVER (PARTITION BY name ORDER BY version DESC) = 1
ORDER BY created_at DESC, name"""


@dataclass(frozen=True)
class CoefficientLine:
    """A fitted number with its interval; an unknown error is None."""

    name: str
    estimate: float
    std_error: float | None
    lower: float | None
    upper: float | None
    is_at_bound: bool


@dataclass(frozen=True)
class LawCard:
    """What a picture of a law needs to know about it.

    Parameters
    ----------
    inputs : columns the law is a function of, in its order
    support : smallest and largest value of each input among the rows it was fitted to; of a law of given
        coefficients, what it is drawn over
    level : of the coefficients' intervals
    status : `converged`, `given`, or why the fit has none
    unit : of the target; None where it is not known
    """

    name: str
    version: int
    form: str
    formula: str
    target: str
    inputs: tuple[str, ...]
    statement: str
    coefficients: tuple[CoefficientLine, ...]
    level: float
    support: dict[str, tuple[float, float]]
    objective: float | None
    rows: int
    dropped: int
    status: str
    notes: tuple[str, ...]
    unit: str | None = None

    @property
    def sql_name(self) -> str:
        """The name as it stands in a statement."""
        return self.name if is_published(self.name) else identifier(self.name)

    @property
    def predicted(self) -> str:
        """The column in which answers give what the law predicts."""
        return f"predicted_{self.target}"

    @property
    def size(self) -> str | None:
        """The input that is the size of a model, if one is."""
        return next((name for name in self.inputs if name.lower() in SIZES), None)

    @property
    def amount(self) -> str | None:
        """The input that is the amount of training data, if one is."""
        return next((name for name in self.inputs if name.lower() in AMOUNTS), None)

    @property
    def compute(self) -> tuple[str, str] | None:
        """The two inputs whose product is the training compute; None when compute is not theirs to give."""
        if self.size is None or self.amount is None or "flops" in self.inputs:
            return None
        return self.size, self.amount

    @property
    def is_of_cells(self) -> bool:
        """Whether its rows are the cells of an OPTIMUM, each of several runs."""
        return " OPTIMUM OF " in f" {' '.join(self.statement.upper().split())} ".replace("(", " ")

    @property
    def is_of_optima(self) -> bool:
        """Whether it predicts the best value of a setting, which no size makes as low as can be."""
        return self.is_of_cells or self.form.startswith("optimal_")

    @property
    def row_word(self) -> str:
        """What its rows are called."""
        return "cells" if self.is_of_cells else "runs"

    @property
    def is_converged(self) -> bool:
        """Whether the coefficients may be trusted at all."""
        return self.status in ("converged", GIVEN)

    @property
    def is_given(self) -> bool:
        """Whether its coefficients were said, not fitted, so that there are no runs behind it."""
        return self.status == GIVEN

    @property
    def is_additive(self) -> bool:
        """Whether residuals are differences in the target's unit, rather than in its logarithm."""
        return any(note.startswith("additive:") for note in self.notes)

    @property
    def floor(self) -> CoefficientLine | None:
        """What no budget removes, such as the irreducible loss, where the law has it above zero."""
        return next((each for each in self.coefficients if each.name in FLOORS and each.estimate > 0), None)


def is_published(name: str) -> bool:
    """Return whether a name is that of a law of a paper, which no lake keeps."""
    return name.lower().startswith(PUBLISHED)


def read_laws(lake: Lakehouse) -> list[LawCard]:
    """Return the newest version of every law, the newest first."""
    return [_card(row) for row in lake.query(LAWS_STATEMENT).to_pylist()]


def read_law(lake: Lakehouse, name: str) -> LawCard:
    """Return the newest version of a law.

    Raises
    ------
    UsageError : if there is no law of this name
    """
    if is_published(name):
        return _published_card(name)
    rows = lake.query(f"FROM laws WHERE name = {literal(name)} ORDER BY version DESC LIMIT 1").to_pylist()
    if not rows:
        known = lake.query("SELECT DISTINCT name FROM laws").column(0).to_pylist()
        raise UsageError(f"law '{name}' does not exist", hint=did_you_mean(name, known, "SHOW LAWS lists them"))
    return _card(rows[0])


def _published_card(name: str) -> LawCard:
    """Return a law of a paper as a record.

    Raises
    ------
    UsageError : if there is none of this name
    """
    from isoflop.lakehouse.errors import UnknownName
    from isoflop.queries.laws.atlas import ATLAS, find_published_law

    try:
        entry = find_published_law(ATLAS, name[len(PUBLISHED) :])
    except UnknownName as error:
        raise UsageError(f"law '{name}' does not exist", hint=error.hint) from None
    law, errors = entry.law, entry.errors.tolist()
    inputs = tuple(input_.name for input_ in law.inputs)
    coefficients = tuple(
        CoefficientLine(each.name, value, None if error != error else error, None, None, False)
        for each, value, error in zip(law.coefficients, entry.values.tolist(), errors, strict=True)
    )
    return LawCard(
        name=PUBLISHED + entry.name, version=1, form=entry.form, formula=str(law.formula), target=law.target,
        inputs=inputs, statement="", coefficients=coefficients, level=0.95,
        support={each: USUAL.get(each.lower(), ANYTHING) for each in inputs}, objective=None, rows=0, dropped=0,
        status=GIVEN, notes=(f"source: {entry.source}", f"about: {entry.about}"), unit=UNITS.get(law.target),
    )  # fmt: skip


def _card(row: dict[str, Any]) -> LawCard:
    """A row of `laws` as a record."""
    coefficients = tuple(
        CoefficientLine(
            each["coefficient"],
            each["estimate"],
            each["std_error"],
            each["lower"],
            each["upper"],
            bool(each["at_bound"]),
        )
        for each in row["coefficients"] or ()
    )
    support = {each["input"]: (each["lowest"], each["largest"]) for each in row["support"] or ()}
    if row["status"] == GIVEN:
        support = {name: USUAL.get(name.lower(), ANYTHING) for name in support}
    return LawCard(
        name=row["name"], version=row["version"], form=row["form"] or "formula", formula=row["formula"] or "",
        target=row["target"], inputs=tuple(row["inputs"] or support), statement=row["statement"] or "",
        coefficients=coefficients, level=row["level"] or 0.95, support=support, objective=row["objective"],
        rows=row["rows"] or 0, dropped=row["dropped"] or 0, status=row["status"] or "unknown",
        notes=tuple(row["notes"] or ()), unit=_unit(row),
    )  # fmt: skip


def _unit(row: dict[str, Any]) -> str | None:
    """Return the unit of what a law predicts: that of the rows it was fitted to, if it is known."""
    said = json.loads(row["options"] or "{}").get("unit")
    return (UNITS.get(row["target"]) if said is None else said) or None
