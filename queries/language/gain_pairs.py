"""The two laws of a COMPARE GAIN: named ones, or two groups of one FIT, with the draws that belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import did_you_mean
from isoflop.queries.language.prediction import ChosenLaws, one_law
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.row_groups import group_rows
from isoflop.queries.language.rows import no_rows
from isoflop.queries.language.shared_fits import labels_of
from isoflop.queries.language.syntax.nodes import CompareGain, Expression, FitClause, LawReference
from isoflop.queries.language.verb import Steps

Array = NDArray[np.float64]
Draws = tuple[Array, Array]

SHOWN = 6  # groups that an error names
SLOW_PAIRS = 20  # of laws that are slow to compute: a gain asks each some thousand predictions a draw


class NamedLaws:
    """Two laws that know nothing of each other, or one law twice.

    Raises
    ------
    StatementError : when there is no such law, or a FIT gives several
    """

    def __init__(self, question: Question, node: CompareGain) -> None:
        self._question = question
        references: list[LawReference] = []
        for reference in (node.law, node.over):
            assert not isinstance(reference, Expression)
            references.append(reference)
        self.laws = [one_law(question, reference, "COMPARE GAIN") for reference in references]
        self.titles = [law.title for law in self.laws]

    def steps(self) -> Steps:
        """Return what both laws are."""
        found: Steps = []
        for word, law in zip(("gain of", "over"), self.laws, strict=True):
            found += [(word, law.title), *law.steps()]
        return found

    def read(self) -> list[LawRecord]:
        """Return both laws with their numbers."""
        records = [law.read(says_trouble=law.saved is not None)[1][0] for law in self.laws]
        for word, law in zip(("", "OVER "), self.laws, strict=True):
            if law.fitted is not None and (found := law.fitted.parts[0][1]) is not None:
                for note in found.notes:
                    self._question.note(f"{word}{law.title}: {note.message}")
        return records

    @property
    def may_share(self) -> bool:
        """Whether the two might be fitted with coefficients in common, and are not: not two laws of their own."""
        return False

    def draws(self, records: list[LawRecord], seed: int) -> Draws:
        """Return draws of both laws, one of each to a pair: at random, but those of one law with themselves."""
        return joint_draws(records) if _is_one(records) else random_draws(records, seed)

    def how(self, records: list[LawRecord], pairs: int, seed: int) -> str:
        """Return what intervals come from, as a note says it."""
        if _is_one(records):
            return f"both are one law, so each of {pairs} resamples is compared with itself"
        return f"intervals come from {pairs} pairs of resamples of both laws, seed {seed}"


class Groups:
    """Two groups of a FIT, whose draws belong together where they have coefficients in common.

    Raises
    ------
    StatementError : when there is no such group, or the FIT names what does not exist
    """

    def __init__(self, question: Question, node: CompareGain, fit: FitClause) -> None:
        self._question, self._fit = question, fit
        law = ChosenLaws(question, fit)
        self.laws = [law, law]
        assert law.fit is not None
        keys = law.fit.keys
        if not keys.num_rows:
            raise no_rows(question, "FIT", fit.source, law.fit.rows)
        known = labels_of(keys, group_rows(keys))
        self._places: list[Expression] = []
        self._names: list[str] = []
        for place in (node.law, node.over):
            assert isinstance(place, Expression)
            name = question.text_of(place, "a group")
            if name not in known:
                some = ", ".join(f"'{group}'" for group in known[:SHOWN])
                hint = did_you_mean(name, known, f"GROUP BY gives {some}{', …' if len(known) > SHOWN else ''}")
                raise question.error("Binder", f"there is no group '{name}'", place, hint)
            self._places.append(place)
            self._names.append(name)
        self.titles = [f"group '{name}'" for name in self._names]

    def steps(self) -> Steps:
        """Return which groups are compared, and the fit of all."""
        return [("gain of", self.titles[0]), ("over", self.titles[1]), *self.laws[0].steps()]

    def read(self) -> list[LawRecord]:
        """Return the laws of both groups.

        Raises
        ------
        StatementError : when a group has no fit
        """
        _, records = self.laws[0].read(says_trouble=False)
        found: list[LawRecord] = []
        labels = [record.group for record in records]
        for name, place in zip(self._names, self._places, strict=True):
            if name not in labels:
                raise self._question.error("Fit", f"group '{name}' has no fit", place)
            found.append(records[labels.index(name)])
        self._note_fits()
        return found

    def _note_fits(self) -> None:
        """Say what is to be known of the fits of both groups, once where it holds for both."""
        fitted = self.laws[0].fitted
        assert fitted is not None
        about_rows = {note.code for note in fitted.rows.notes}  # which are said already
        whose: dict[str, list[str]] = {}
        for label, (_, found) in zip(fitted.labels, fitted.parts, strict=True):
            if found is None or label not in self._names:
                continue
            for note in found.notes:
                if note.code not in about_rows:
                    whose.setdefault(note.message, []).append(label)
        for message, labels in whose.items():
            of = f"group '{labels[0]}': " if len(labels) < len(set(self._names)) else ""
            self._question.note(f"{of}{message}")

    @property
    def may_share(self) -> bool:
        """Whether both might be fitted with coefficients in common, and are not."""
        return not self._is_joint

    @property
    def _is_joint(self) -> bool:
        return bool(self._fit.source.sharing) or self._names[0] == self._names[1]

    def draws(self, records: list[LawRecord], seed: int) -> Draws:
        """Return draws of both groups, one of each to a pair: the same resample where the fit is one."""
        return joint_draws(records) if self._is_joint else random_draws(records, seed)

    def how(self, records: list[LawRecord], pairs: int, seed: int) -> str:
        """Return what intervals come from, as a note says it."""
        if self._is_joint:
            return f"intervals come from {pairs} resamples of both groups together"
        return f"intervals come from {pairs} pairs of resamples of both groups, seed {seed}"


def joint_draws(records: list[LawRecord]) -> Draws:
    """Return the draws of two laws that come from the same resamples, those without a number left out."""
    first, second = (record.fitted.draws for record in records)
    usable = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    first, second = first[usable], second[usable]
    count = _count(records, len(first))
    chosen = np.linspace(0, max(len(first) - 1, 0), count).astype(int)
    return first[chosen], second[chosen]


def random_draws(records: list[LawRecord], seed: int) -> Draws:
    """Return draws of two laws paired at random, each of either about equally often."""
    draws = [record.fitted.draws[np.isfinite(record.fitted.draws).all(axis=1)] for record in records]
    if not all(map(len, draws)):
        return draws[0][:0], draws[1][:0]
    count = _count(records, max(map(len, draws)))
    generator = np.random.default_rng(seed)
    first, second = (own[generator.permutation(np.resize(np.arange(len(own)), count))] for own in draws)
    return first, second


def _count(records: list[LawRecord], available: int) -> int:
    return min(available, SLOW_PAIRS) if any(record.law.is_costly for record in records) else available


def _is_one(records: list[LawRecord]) -> bool:
    """Return whether both laws are the same version of one saved law."""
    first, second = ((record.name, record.version) for record in records)
    return first == second and first[0] is not None
