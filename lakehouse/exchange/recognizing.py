"""Which columns of a table are ours, by the names and units that others give them.

A name is compared as `naming.plain_name` has it. Behind a prefix, `model.n_params` or `throughput/total_tokens`,
counts are known too, where one column alone is called so; a unit in a heading, `Tokens (B)` or `params_M`, is a factor
(`headings`), and tokens per param are so many times the params.
What is known only by a word that means other things elsewhere is looked at: `iter` is the step of a curve where it
counts up within a run, `L` a loss where it is not whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.exchange.headings import AS_IT_IS, RATIO, Of, read_heading
from isoflop.lakehouse.exchange.landing import MEASURED, PLACES
from isoflop.lakehouse.exchange.naming import TABLE_NAMES, plain_name
from isoflop.lakehouse.exchange.values import as_number, is_nothing
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb

ENDINGS = ("status", "reason", "error", "started_at", "finished_at", "tags", "config")
TEXT = ("run_id", "name", "family", *PLACES, "status", "reason", "error")
SHAPE = ("width", "depth", "heads", "vocabulary", "sequence_length", "batch_tokens", "learning_rate")
NUMBERS = (*COUNTS, *MEASURED, *SHAPE, "seed", "step", "seconds")
WHOLE = ("seed", "step", "steps")
KNOWN = (*NUMBERS, *TEXT, *ENDINGS, "metric", "value")
IS_TEXT = ("VARCHAR", "JSON")

# Words that count the steps of a curve in a log, and in a table of runs the length of each.
STEP_WORDS = ("iter", "iteration", "it", "training/iteration", "train/iter")
LOSSES = ("loss", "validation_loss")
LOSS_LETTERS = ("l",)  # beside N and D; where it is whole, it counts layers
OF_EVALUATIONS = {"eval", "val", "valid", "validation", "test", "dev"}  # whose tokens are not those of the training
# Names of two words or more, which mean the same behind any prefix.
BEHIND_A_PREFIX = {
    ours: tuple(name for name in (ours, *TABLE_NAMES[ours]) if "/" in name.strip("/") or name == ours)
    for ours in ("params", "tokens", "flops")
}
FEWEST_POINTS = 4  # rows of every value from which text that no other column explains is taken for names of curves
MOST = 0.8  # share of cells that are numbers from which a column of a known name is meant to be one
LARGEST_IN_UNITS = 1e7  # a column of larger numbers is not in thousands or millions, whatever its heading says


@dataclass(frozen=True)
class Recognized:
    """A column that is one of ours.

    Parameters
    ----------
    ours, theirs : our name, and the column's
    expression : None where the column is taken as it is, otherwise what is made of it, as it is typed behind --map
    sql : the same for DuckDB
    """

    ours: str
    theirs: str
    expression: str | None = None
    sql: str | None = None


def recognized(
    con: duckdb.DuckDBPyConnection,
    kinds: Mapping[str, str],
    parts: Mapping[str, str],
    used: set[str],
    has_commas: bool,
) -> list[Recognized]:
    """Return the columns of the table `typed` that usually mean something of ours.

    Parameters
    ----------
    kinds : column -> DuckDB type
    parts : what is known already, our name -> SQL
    used : columns that the user has given a meaning
    has_commas : whether the file writes 3,5 for 3.5
    """
    free = [name for name in kinds if name not in used and name.lower() not in KNOWN]
    search = _Search(con, kinds, has_commas, {name: plain_name(name) for name in free})
    for ours, others in TABLE_NAMES.items():
        target = "loss" if ours == "perplexity" else ours
        if target not in parts and target not in search.targets:
            search.by_names(ours, target, others) or search.by_heading(ours, others) or search.behind_a_prefix(ours)
    if "tokens" not in parts and "tokens" not in search.targets:
        search.by_ratio(parts)
    search.by_curves(parts)
    if "step" not in parts and "step" not in search.targets:
        search.by_counting(parts)
    return search.found


class _Search:
    def __init__(
        self, con: duckdb.DuckDBPyConnection, kinds: Mapping[str, str], has_commas: bool, plain: dict[str, str]
    ) -> None:
        self.con, self.kinds, self.has_commas = con, kinds, has_commas
        self.ratios = {name: word for name, word in plain.items() if RATIO.fullmatch(word)}
        self.plain = {name: word for name, word in plain.items() if name not in self.ratios}
        self.found: list[Recognized] = []
        self.targets: set[str] = set()
        self.by_plain: dict[str, str] = {}
        for name, word in self.plain.items():
            self.by_plain.setdefault(word, name)

    def by_names(self, ours: str, target: str, others: tuple[str, ...]) -> bool:
        """Take the first column that is called by one of these names and says what it must."""
        for other in others:
            theirs = self.by_plain.get(other)
            if theirs is None or (ours in (*NUMBERS, "perplexity") and not self._is_numeric(theirs, mostly=True)):
                continue
            if other in LOSS_LETTERS and self._is_whole(theirs):
                continue
            if ours == "perplexity":
                return self._take(Recognized(target, theirs, f"ln({theirs})", f"(ln({self._number(theirs)}))"))
            return self._take(Recognized(target, theirs))
        return False

    def by_heading(self, ours: str, others: tuple[str, ...]) -> bool:
        """Take a count or a loss whose heading says in which unit it is; a logarithm is offered, and not taken."""
        for theirs in self.plain if ours in (*COUNTS, *LOSSES) else ():
            heading = read_heading(theirs)
            if heading is None or heading.of is Of.LOGARITHM or not heading.can_be(ours):
                continue
            if not {plain_name(name) for name in heading.names} & {ours, *others} or not self._is_numeric(theirs):
                continue
            if heading.made == AS_IT_IS:
                return self._take(Recognized(ours, theirs))
            if heading.of is Of.LOSS or self._largest(theirs) < LARGEST_IN_UNITS:
                expression = heading.made.format(quoted(theirs))
                return self._take(
                    Recognized(ours, theirs, expression, f"({heading.made.format(self._number(theirs))})")
                )
        return False

    def by_ratio(self, parts: Mapping[str, str]) -> bool:
        """Take tokens per param, times params, as tokens."""
        params = self._known(parts).get("params")
        theirs = next((name for name in self.ratios if self._is_numeric(name)), None)
        if params is None or theirs is None:
            return False
        found = next((one for one in self.found if one.ours == "params"), None)
        if found is None:
            whose, sql = "params", f"TRY_CAST(({params})::VARCHAR AS DOUBLE)"
        else:
            whose, sql = found.expression or quoted(found.theirs), found.sql or self._number(found.theirs)
        return self._take(
            Recognized("tokens", theirs, f"{quoted(theirs)} * {whose}", f"({self._number(theirs)} * {sql})")
        )

    def behind_a_prefix(self, ours: str) -> bool:
        """Take the one column whose last words are the name of a count."""
        names = BEHIND_A_PREFIX.get(ours, ())
        for name in names:
            ends = [theirs for theirs, word in self.plain.items() if _ends_with(theirs, word, name)]
            if len(ends) == 1 and self._is_numeric(ends[0]):
                return self._take(Recognized(ours, ends[0]))
        return False

    def by_curves(self, parts: Mapping[str, str]) -> bool:
        """Take the text whose every value has a curve of its own as the name of its run, where no column names runs."""
        known = self._known(parts)
        step = known.get("step") or self._counting()
        if step is None or {"run_id", "name", "metric"} & set(known) or self._fewest_points("''", step, known):
            return False
        for theirs in list(self.plain):
            if self.kinds[theirs] == "VARCHAR" and not self._is_numeric(theirs, mostly=True):
                fewest = self._fewest_points(quoted(theirs), step, known)
                if fewest >= FEWEST_POINTS:
                    return self._take(Recognized("name", theirs))
        return False

    def by_counting(self, parts: Mapping[str, str]) -> bool:
        """Take what counts up along the rows of a run as the step of its curve."""
        known, count = self._known(parts), self._counting()
        if count is None:
            return False
        theirs = next(self.by_plain[word] for word in STEP_WORDS if word in self.by_plain)
        key = known.get("run_id", known.get("name", "''"))
        return self._fewest_points(key, count, known) > 0 and self._take(Recognized("step", theirs))

    def _known(self, parts: Mapping[str, str]) -> dict[str, str]:
        return {found.ours: quoted(found.theirs) for found in self.found} | dict(parts)

    def _counting(self) -> str | None:
        """Return the SQL of the column that counts steps where it counts up; None without one."""
        theirs = next((self.by_plain[word] for word in STEP_WORDS if word in self.by_plain), None)
        is_count = theirs is not None and self._is_numeric(theirs) and self._is_whole(theirs)
        return self._number(theirs) if is_count and theirs is not None else None

    def _fewest_points(self, key: str, count: str, known: Mapping[str, str]) -> int:
        """Return the fewest rows that a value of a key has; 0 where they are no curves along what is counted.

        Steps that begin anew where a run ends, or several sizes among the rows of one, are no curve.
        """
        sizes = known.get("params", "0")
        row = self.con.execute(
            f"SELECT bool_and(is_up), max(sizes), max(points), min(points) FROM (SELECT coalesce(bool_and(is_up), "
            f"true) AS is_up, count(DISTINCT size) AS sizes, count(*) AS points FROM (SELECT {key} AS key, "
            f"{sizes} AS size, {count} > lag({count}) OVER (PARTITION BY {key} ORDER BY rowid) AS is_up FROM typed) "
            "GROUP BY key)"
        ).fetchone()
        is_curve = row is not None and bool(row[0]) and row[1] <= 1 and row[2] > 1
        return int(row[3]) if is_curve and row is not None else 0

    def _take(self, column: Recognized) -> bool:
        self.found.append(column)
        self.targets.add(column.ours)
        self.by_plain.pop(self.plain.pop(column.theirs, ""), None)
        return True

    def _number(self, name: str) -> str:
        cell = quoted(name)
        return cell if self.kinds[name] not in IS_TEXT else as_number(cell, has_commas=self.has_commas)

    def _largest(self, name: str) -> float:
        row = self.con.execute(f"SELECT max(abs({self._number(name)})) FROM typed").fetchone()
        return float(row[0]) if row and row[0] is not None else 0.0

    def _is_whole(self, name: str) -> bool:
        number = self._number(name)
        row = self.con.execute(f"SELECT bool_and({number} = floor({number})) FROM typed").fetchone()
        return bool(row and row[0])

    def _is_numeric(self, name: str, *, mostly: bool = False) -> bool:
        """Return whether a column says numbers, at least one and nothing else.

        One of which most cells are numbers is `mostly` so: the cells that are none are named where they are read.
        """
        kind = self.kinds[name]
        if kind not in IS_TEXT:
            return not kind.endswith("[]") and not kind.startswith(("BOOLEAN", "STRUCT", "MAP", "TIME", "DATE"))
        cell = quoted(name)
        number, said = as_number(cell, has_commas=self.has_commas), f"NOT ({is_nothing(cell)})"
        row = self.con.execute(f"SELECT count({number}), count({cell}) FILTER ({said}) FROM typed").fetchone() or (0, 0)
        return bool(row[0]) and row[0] >= (MOST * row[1] if mostly else row[1])


def _ends_with(theirs: str, word: str, name: str) -> bool:
    """Return whether a column, compared as `word`, has a name behind a prefix that is none of an evaluation's."""
    last = re.split(r"[./]", theirs)[-1]
    return last != theirs and plain_name(last) == name and not OF_EVALUATIONS & set(word.split("/"))
