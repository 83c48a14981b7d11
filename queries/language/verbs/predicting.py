"""What a theory says of runs: PREDICT RUNS BY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import EmptySelection, UnknownName, UsageError
from isoflop.queries.language.listing import Listing
from isoflop.queries.language.question import Question
from isoflop.queries.language.reading import source_pieces
from isoflop.queries.language.syntax.nodes import Name, Show, Source, Span
from isoflop.queries.language.syntax.parts import read_pattern, read_source, refuse_parts
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.verb import Brief, Page, Plan, Steps, Verb

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.queries.theory import Theory

MOST_NAMED = 3  # runs that a note names
USAGE = "PREDICT RUNS BY volterra_plrf FROM runs"


@dataclass(frozen=True)
class DescribeTheory(Span):
    """`DESCRIBE THEORY name`."""

    theory: Name


@dataclass(frozen=True)
class PredictRuns(Span):
    """`PREDICT RUNS BY theory [FROM …]`; without a source, of all runs of the theory's family."""

    theory: Name
    source: Source | None = None


class PredictRunsPlan:
    """A theory, and the runs it is to predict.

    Raises
    ------
    StatementError : when there is no such theory, or the source has no column `run_id`
    """

    def __init__(self, question: Question, node: PredictRuns) -> None:
        self._question, self._node = question, node
        self._theory = _theory(question, node.theory)
        self._ids = None if node.source is None else _run_ids(question, node.source)

    def steps(self) -> Steps:
        """Return the theory, and how many runs it predicts."""
        theory, ids = self._theory, self._ids
        of_family = f"of family {theory.family}"
        runs = f"all runs {of_family}" if ids is None else f"those {of_family} among {len(ids)} runs"
        keep = "in the table predictions, in the place of what this version said of these runs before"
        return [
            ("theory", f"{theory.name} {theory.version} ({theory.source})"),
            ("metrics", ", ".join(f"{metric} [{unit}]" for metric, unit in theory.metrics.items())),
            ("runs", runs),
            ("keep", keep),
        ]

    def run(self) -> pa.Table:
        """Predict, keep and return the predictions."""
        from isoflop.queries.language.changing import conflicts_told
        from isoflop.queries.theory import predict_runs
        from isoflop.queries.theory.predictions import no_predictions

        question = self._question
        try:
            with conflicts_told(question, self._node.theory, f"what {self._theory.name} said of these runs"):
                table = predict_runs(question.lake, self._theory, self._ids, left_out=question.note)
        except EmptySelection as error:
            question.note(str(error))
            return no_predictions()
        except UsageError as error:
            raise question.error("Data", error.message, self._node.source or self._node.theory, error.hint) from error
        _note_infinite(question, table)
        question.note("kept; SELECT * FROM predictions JOIN metric_curves USING (run_id, metric, step) compares")
        return table


def _note_infinite(question: Question, table: pa.Table) -> None:
    """Say how many predictions are no finite numbers, and of which runs: a theory of a run that diverges."""
    import pyarrow.compute as pc

    is_finite = pc.and_(pc.is_finite(table.column("value")), pc.is_finite(table.column("deviation")))
    odd = table.filter(pc.invert(is_finite))
    if not odd.num_rows:
        return
    runs = pc.unique(odd.column("run_id")).to_pylist()
    shown = ", ".join(runs[:MOST_NAMED]) + (f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else "")
    question.note(
        f"{odd.num_rows} of {table.num_rows} predictions have no finite value or deviation, those of run"
        f"{'s' * (len(runs) > 1)} {shown}: the theory has the run diverge there"
    )


def _theory(question: Question, name: Name) -> Theory:
    """Return a theory by its name."""
    from isoflop.queries.theory import find_theory

    try:
        return find_theory(name.text)
    except UnknownName as error:
        raise question.error("Catalog", f"theory '{name.text}' does not exist", name, error.hint) from None


def _run_ids(question: Question, source: Source) -> list[str]:
    """Return the runs that a source names."""
    rows = question.run("SELECT DISTINCT run_id", *source_pieces(source), place=source.relation)
    return [str(value) for value in rows.column(0).to_pylist() if value is not None]


def _read(reader: TokenReader) -> PredictRuns:
    start = reader.begin("PREDICT RUNS BY")
    theory = reader.name("the name of a theory", USAGE)
    source = read_source(reader, "PREDICT RUNS") if reader.at("FROM") else None
    if source is not None:
        refuse_parts(reader, source, "PREDICT RUNS")
    return PredictRuns(start, reader.end, theory, source)


PREDICT_RUNS = Verb(
    words="PREDICT RUNS BY",
    changes=True,
    rule="PREDICT RUNS BY theory [ source ]",
    node=PredictRuns,
    parse=_read,
    plan=PredictRunsPlan,
    page=Page(
        purpose=(
            "Has a theory predict the curves of runs of its family from their settings, at the steps that they logged "
            "and at step 0, and keeps what it says in the table `predictions`, which has the shape of `metrics`: a "
            "predicted curve beside its run is a join. Nothing is fitted. Asking again replaces what the same version "
            "of the theory said of a run. The rows of `FROM` need a column `run_id`; runs of other families are left "
            "out. [theories.md](theories.md) lists the theories."
        ),
        sample="PREDICT RUNS BY volterra_plrf",
        columns={
            "theory": "its name",
            "version": "of the theory; changes with its predictions",
            "run_id": "of the run",
            "metric": "what is predicted",
            "step": "after so many steps; 0 is before training",
            "value": "expected value [unit of the metric]",
            "deviation": "standard deviation of one run about it [unit of the metric]",
        },
        examples=("SELECT count(*) AS predictions FROM (PREDICT RUNS BY volterra_plrf FROM runs)",),
        mistakes=("PREDICT RUNS BY volterra", "PREDICT RUNS BY volterra_plrf FROM (SELECT 1 AS x)"),
    ),
    briefs=(Brief("have a theory predict runs, and keep what it says", USAGE),),
)


_THEORIES = """
SELECT theory, version, family, metrics, source FROM _theories
WHERE $pattern IS NULL OR theory ILIKE $pattern ORDER BY theory
"""


def _show_theories(question: Question, node: Show) -> Plan:
    import pyarrow as pa

    from isoflop.queries.theory import known_theories

    rows = [
        {"theory": name, "version": theory.version, "family": theory.family, "metrics": list(theory.metrics)}
        | {"source": theory.source}
        for name, theory in known_theories().items()
    ]
    return Listing(question, node, "the theories there are", _THEORIES, {"_theories": pa.Table.from_pylist(rows)})


SHOW_THEORIES = Verb(
    words="SHOW THEORIES",
    is_of_program=True,
    rule="SHOW THEORIES [ LIKE text ]",
    node=Show,
    parse=lambda reader: read_pattern(reader, "SHOW THEORIES"),
    plan=_show_theories,
    page=Page(
        purpose="Lists the theories that `PREDICT RUNS BY` and `COMPARE` take, [each in full](theories.md).",
        sample="SHOW THEORIES",
        columns={
            "theory": "its name",
            "version": "of it; changes with its predictions",
            "family": "of the runs that it predicts",
            "metrics": "list of what it predicts",
            "source": "paper and equation",
        },
        examples=("SELECT theory, family, metrics FROM (SHOW THEORIES LIKE 'volt%')",),
    ),
    briefs=(Brief("list the theories that predict runs", "SHOW THEORIES"),),
)


class DescribeTheoryPlan:
    """A theory, told line by line.

    Raises
    ------
    StatementError : when there is no such theory
    """

    def __init__(self, question: Question, node: DescribeTheory) -> None:
        self._theory = _theory(question, node.theory)

    def steps(self) -> Steps:
        """Return the theory."""
        return [("theory", f"{self._theory.name} {self._theory.version} ({self._theory.source})")]

    def run(self) -> pa.Table:
        """Return what it is about, what it predicts, what it reads and what may be fitted."""
        import sys

        import pyarrow as pa

        theory = self._theory
        told = (sys.modules[type(theory).__module__].__doc__ or "").strip().partition("\n")[0]
        rows = [
            ("what", theory.name, told),
            ("version", theory.name, theory.version),
            ("source", theory.name, theory.source),
            ("family", theory.family, f"its runs, along the axis {theory.axis}"),
        ]
        rows += [("metric", metric, unit) for metric, unit in theory.metrics.items()]
        for field in theory.fields:
            rows.append(("setting", field, "may be missing" if field in theory.optional_fields else "is read"))
        rows += [("free", coefficient.name, "may be fitted") for coefficient in theory.free]
        kinds, names, said = zip(*rows, strict=True)
        return pa.table({"part": pa.array(kinds), "name": pa.array(names), "meaning": pa.array(said)})


def _read_described(reader: TokenReader) -> DescribeTheory:
    start = reader.begin("DESCRIBE THEORY")
    theory = reader.name("the name of a theory", "SHOW THEORIES lists them")
    return DescribeTheory(start, reader.end, theory)


DESCRIBE_THEORY = Verb(
    words="DESCRIBE THEORY",
    needs=lambda token: token.is_name,
    is_of_program=True,
    rule="DESCRIBE THEORY theory",
    node=DescribeTheory,
    parse=_read_described,
    plan=DescribeTheoryPlan,
    page=Page(
        purpose="Tells what a theory is about: its paper, the metrics it predicts, the settings it reads.",
        sample="DESCRIBE THEORY volterra_plrf",
        columns={
            "part": "`what`, `version`, `source`, `family`, `metric`, `setting`, or `free` for a number to fit",
            "name": "of the theory, its family, the metric or the setting",
            "meaning": "in words; of a metric its unit",
        },
        examples=("SELECT name, meaning FROM (DESCRIBE THEORY volterra_plrf) WHERE part IN ('family', 'metric')",),
        mistakes=("DESCRIBE THEORY volterra",),
    ),
    briefs=(Brief("tell what a theory is about", "DESCRIBE THEORY volterra_plrf"),),
)
