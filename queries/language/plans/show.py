"""SHOW LAWS, SHOW LAW FORMS and DESCRIBE LAW."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.describe import law_steps
from isoflop.queries.language.listing import Listing
from isoflop.queries.language.provenance import note_stale, staleness
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.saved_laws import coefficient_rows
from isoflop.queries.language.syntax.nodes import DescribeLaw, Show
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Role, listed_laws
from isoflop.queries.laws.auto import auto_laws

if TYPE_CHECKING:
    import pyarrow as pa

_LAWS = """
SELECT name, version, form, target, inputs, rows, status, stale, objective, created_at, comment
FROM store.laws
WHERE $pattern IS NULL OR name ILIKE $pattern
QUALIFY row_number() OVER (PARTITION BY lower(name) ORDER BY version DESC) = 1
ORDER BY name
"""
_FORMS = "FROM _forms WHERE $pattern IS NULL OR form ILIKE $pattern ORDER BY form, len(inputs)"


class ShowLawsPlan(Listing):
    """The newest version of every saved law; `stale` is whether its rows have changed since, null if unknown."""

    def __init__(self, question: Question, node: Show) -> None:
        super().__init__(question, node, "the newest version of every saved law", _LAWS)


class ShowFormsPlan(Listing):
    """The laws that have names, with their formulas and sources."""

    def __init__(self, question: Question, node: Show) -> None:
        super().__init__(question, node, "the laws that have names", _FORMS, {"_forms": _forms()})


def _forms() -> pa.Table:
    """Return the laws that have names, one row each; of `auto` one for each number of inputs that it takes."""
    import pyarrow as pa

    text = pa.string()
    schema = pa.schema(
        {
            "form": text,
            "formula": text,
            "target": text,
            "inputs": pa.list_(text),
            "coefficients": pa.list_(text),
            "source": text,
        }
    )
    rows = [
        {
            "form": law.name,
            "formula": law.formula,
            "target": law.target,
            "inputs": [input_.name for input_ in law.inputs],
            "coefficients": [coefficient.name for coefficient in law.coefficients],
            "source": law.source,
        }
        for law in (*listed_laws().values(), *auto_laws())
    ]
    return pa.Table.from_pylist(rows, schema=schema)


class DescribePlan:
    """A saved law, or one version of it."""

    def __init__(self, question: Question, node: DescribeLaw) -> None:
        self._question, self._node = question, node
        self._record = load_law(question, node.name, _version(question, node))

    def steps(self) -> Steps:
        """Return what the law is, and that its coefficients are listed."""
        record = self._record
        return [*law_steps(self._question, record), ("list", f"its {len(record.law.coefficients)} coefficients")]

    def run(self) -> pa.Table:
        """Return the coefficients of the law with their errors and intervals.

        `stale` is whether the rows that the law was fitted to have changed since, null where that is unknown.
        """
        import pyarrow as pa

        question, node, record = self._question, self._node, self._record
        found = staleness(question, record)
        for note in record.notes:
            question.note(note)
        if record.is_given:
            question.note(f"{record.title} is of given coefficients: nothing was fitted")
        elif record.status != "converged":
            question.note(f"law '{record.name}' is {record.status.replace('_', ' ')}: do not rely on its numbers")
        number, text = pa.float64(), pa.string()
        schema = pa.schema(
            {
                "coefficient": text,
                "estimate": number,
                "std_error": number,
                "lower": number,
                "upper": number,
                "level": number,
                "at_bound": pa.bool_(),
                "unit": text,
                "stale": pa.bool_(),
            }
        )
        if node.version is None:
            note_stale(question, record, found)
        if found.is_stale is None:
            question.note(f"whether law '{record.name}' is stale is unknown: {found.reason}")
        units = coefficient_units(record)
        rows = [
            {**row, "level": record.level, "unit": units[row["coefficient"]], "stale": found.is_stale}
            for row in coefficient_rows(record)
        ]
        return pa.Table.from_pylist(rows, schema=schema)


def _version(question: Question, node: DescribeLaw) -> int | None:
    """Return which version is described, or None for the newest."""
    if node.version is None:
        return None
    number = question.number(node.version, "a version")
    if not number.is_integer():
        raise question.error("Binder", f"a version is a whole number, got {node.version.text}", node.version)
    return int(number)


def coefficient_units(record: LawRecord) -> dict[str, str | None]:
    """Return the unit of each coefficient where it is known: of floors the target's, of exponents none (1)."""
    known = {Role.FLOOR: record.unit or None, Role.EXPONENT: "1"}
    return {coefficient.name: known.get(coefficient.role) for coefficient in record.law.coefficients}
