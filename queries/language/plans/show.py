"""SHOW LAWS, SHOW LAW FORMS and DESCRIBE LAW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.queries.language.catalogue import coefficient_rows
from isoflop.queries.language.provenance import note_stale, staleness
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.syntax.nodes import DescribeLaw, Show
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Role, known_laws

if TYPE_CHECKING:
    import pyarrow as pa

_LAWS = """
SELECT name, version, form, target, inputs, rows, status, stale, objective, created_at, comment
FROM store.laws
WHERE $pattern IS NULL OR name ILIKE $pattern
QUALIFY row_number() OVER (PARTITION BY lower(name) ORDER BY version DESC) = 1
ORDER BY name
"""


def show_laws(question: Question, node: Show) -> pa.Table:
    """Return the newest version of every saved law; `stale` is whether its rows have changed since, null if unknown."""
    return question.lake.query(_LAWS, {"pattern": pattern_of(question, node)})


def pattern_of(question: Question, node: Show) -> str | None:
    """Return the pattern after LIKE, or None without one."""
    return None if node.pattern is None else question.text_of(node.pattern, "a pattern")


def show_law_forms(question: Question, node: Show) -> pa.Table:
    """Return the laws that have names, with their formulas and sources."""
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
            "form": name,
            "formula": law.formula,
            "target": law.target,
            "inputs": [one.name for one in law.inputs],
            "coefficients": [one.name for one in law.coefficients],
            "source": law.source,
        }
        for name, law in sorted(known_laws().items())
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    if node.pattern is None:
        return table
    return question.lake.query(
        "FROM _forms WHERE form ILIKE $1 ORDER BY form", [pattern_of(question, node)], {"_forms": table}
    )


def describe_law(question: Question, node: DescribeLaw) -> pa.Table:
    """Return the coefficients of a saved law with their errors and intervals.

    `stale` is whether the rows that the law was fitted to have changed since, null where that is unknown.
    """
    import pyarrow as pa

    record = load_law(question, node.name, _version(question, node))
    for note in record.notes:
        question.note(note)
    if record.status != "converged":
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
    found = staleness(question, record)
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
    known = {Role.FLOOR: record.law.unit or None, Role.EXPONENT: "1"}
    return {one.name: known.get(one.role) for one in record.law.coefficients}


@dataclass(frozen=True)
class ShowLawsPlan:
    """What show_laws is to do."""

    question: Question
    node: Show

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return show_laws(self.question, self.node)


@dataclass(frozen=True)
class ShowFormsPlan:
    """What show_law_forms is to do."""

    question: Question
    node: Show

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return show_law_forms(self.question, self.node)


@dataclass(frozen=True)
class DescribePlan:
    """What describe_law is to do."""

    question: Question
    node: DescribeLaw

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return describe_law(self.question, self.node)
