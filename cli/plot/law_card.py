"""A fitted law as the lake keeps it: coefficients with intervals, the runs it saw, how the fit went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.cli.plot.run_figures import identifier
from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.lakehouse.sql.quoting import literal

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

FLOORS = ("E", "c_0", "L_inf")
"""Names that laws give to what no budget removes."""

SIZES, AMOUNTS = ("params", "params_non_embedding", "n"), ("tokens", "d")
"""Usual names to the size of a model and to the amount of its data, in lower case."""

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
    support : smallest and largest value of each input among the rows it was fitted to
    level : of the coefficients' intervals
    status : `converged`, or why the fit has none
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

    @property
    def sql_name(self) -> str:
        """The name as it stands in a statement."""
        return identifier(self.name)

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
    def is_converged(self) -> bool:
        """Whether the coefficients may be trusted at all."""
        return self.status == "converged"

    @property
    def floor(self) -> CoefficientLine | None:
        """What no budget removes, such as the irreducible loss, where the law has it above zero."""
        return next((each for each in self.coefficients if each.name in FLOORS and each.estimate > 0), None)


def read_laws(lake: Lakehouse) -> list[LawCard]:
    """Return the newest version of every law, the newest first."""
    return [_card(row) for row in lake.query(LAWS_STATEMENT).to_pylist()]


def read_law(lake: Lakehouse, name: str) -> LawCard:
    """Return the newest version of a law.

    Raises
    ------
    UsageError : if there is no law of this name
    """
    rows = lake.query(f"FROM laws WHERE name = {literal(name)} ORDER BY version DESC LIMIT 1").to_pylist()
    if not rows:
        known = lake.query("SELECT DISTINCT name FROM laws").column(0).to_pylist()
        raise UsageError(f"law '{name}' does not exist", hint=did_you_mean(name, known, "SHOW LAWS lists them"))
    return _card(rows[0])


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
    return LawCard(
        name=row["name"], version=row["version"], form=row["form"] or "formula", formula=row["formula"] or "",
        target=row["target"], inputs=tuple(row["inputs"] or support), statement=row["statement"] or "",
        coefficients=coefficients, level=row["level"] or 0.95, support=support, objective=row["objective"],
        rows=row["rows"] or 0, dropped=row["dropped"] or 0, status=row["status"] or "unknown",
        notes=tuple(row["notes"] or ()),
    )  # fmt: skip
