"""How far beyond the rows of a law its predictions go, and how well such predictions have done before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.intervals import Prediction
from isoflop.queries.fitting.mistakes import narrow_inputs
from isoflop.queries.language.group_notes import MOST_NAMED
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord

Array = NDArray[np.float64]
FAR_BELOW = 10.0  # smallest value of the rows over what is asked [1] from which it is said
WIDEST = 3.0  # upper over lower end of an interval of use [1], or its width in robust spreads of the target
FORWARD_NOTES = ("intervals_widened", "intervals_hold", "no_forward_check")  # what the forward check may have said


def note_distance(question: Question, record: LawRecord, found: Prediction, usable: NDArray[np.bool_]) -> None:
    """Say how far beyond the rows of a law its predictions go, and how well its small rows foretold its large ones."""
    ratios = {
        given.name: ratio for given, ratio in zip(record.law.inputs, found.ratio.T, strict=True) if not given.is_setting
    }
    if note_ratios(question, ratios, usable, record.title):
        for message in forward_messages(record):
            question.note(message)
    _note_below(question, record, ratios, usable)
    for message in (*_unknown_inputs(record, found, usable), *_useless(record, found, usable)):
        question.note(message)


def _note_below(question: Question, record: LawRecord, ratios: Mapping[str, Array], usable: NDArray[np.bool_]) -> None:
    """Say how far below the rows of a law its predictions go, where that is far: as for millions in place of ones."""
    below = []
    for given, (lowest, largest) in zip(record.law.inputs, record.fitted.support.tolist(), strict=True):
        if given.name in ratios and 0 < lowest <= largest:
            values = ratios[given.name][usable] * largest
            factor = float(np.max(lowest / values[values > 0], initial=0.0))
            if factor >= FAR_BELOW:
                below.append(f"{factor:.3g}x below the smallest {given.name}")
    if below:
        question.note(f"extrapolates {' and '.join(below)} of the rows behind {record.title}")


def _unknown_inputs(record: LawRecord, found: Prediction, usable: NDArray[np.bool_]) -> list[str]:
    """What is asked of an input that hardly varied among the rows behind a law."""
    if record.is_given:
        return []
    notes = []
    for position, factor in narrow_inputs(record.law, record.fitted.support):
        above = found.ratio[usable, position]
        with np.errstate(all="ignore"):
            away = float(np.max(np.maximum(above, 1 / (factor * above)), initial=1.0))
        if away > factor:
            notes.append(
                f"not_known: {record.inputs[position]} spans only a factor of {factor:.3g} among the rows behind "
                f"{record.title}; what happens {away:.3g}x away from them is not determined, whatever the interval says"
            )
    return notes


def _useless(record: LawRecord, found: Prediction, usable: NDArray[np.bool_]) -> list[str]:
    """Intervals that are too wide to use."""
    scatter = record.fitted.scatter
    with np.errstate(all="ignore"):
        wide = found.upper - found.lower if scatter.is_additive else found.upper / found.lower
        limit = WIDEST * scatter.size if scatter.is_additive else WIDEST
        is_wide = usable & (wide > limit)
    count = int(np.count_nonzero(is_wide))
    if not count:
        return []
    widest = float(np.max(wide[is_wide]))
    said = f"{widest:.3g} wide" if scatter.is_additive else f"a factor of {widest:.3g} wide"
    which = "the interval is" if count == len(usable) == 1 else f"{count} of {len(usable)} intervals are"
    return [
        f"not_known: {which} up to {said}: {record.title} does not determine {record.target} there; runs nearer to "
        "what is asked would (DESIGN chooses them)"
    ]


def note_distances(
    question: Question, asked: Sequence[tuple[LawRecord, Prediction, NDArray[np.bool_]]], most: int = MOST_NAMED
) -> None:
    """Say it of each law, or of those of the groups whose predictions go furthest beyond their rows.

    Parameters
    ----------
    asked : each law, its predictions and which of these can be used
    most : laws that have a sentence
    """
    if len(asked) > most:
        furthest = [float(np.max(found.ratio[usable], initial=0.0)) for _, found, usable in asked]
        asked = [asked[position] for position in np.argsort(furthest, kind="stable")[::-1][:most]]
    for record, found, usable in asked:
        note_distance(question, record, found, usable)


def forward_messages(record: LawRecord) -> list[str]:
    """Return what the forward check of a law has said."""
    noted = [note.partition(": ") for note in record.notes]
    return [message for code, _, message in noted if code in FORWARD_NOTES]


def note_ratios(question: Question, ratios: Mapping[str, Array], usable: NDArray[np.bool_], title: str) -> bool:
    """Say how far beyond the rows behind a law, or several, some points lie; return whether any does.

    Parameters
    ----------
    ratios : (R,) of each input to the largest one fitted on
    title : what the law is called in a sentence
    """
    beyond = []
    for name, values in ratios.items():
        largest = float(np.max(values[usable], initial=0.0))
        if largest > 1.0 + 1e-9:
            beyond.append(f"{largest:.3g}x beyond the largest {name}")
    if beyond:
        question.note(f"extrapolates {' and '.join(beyond)} of the rows behind {title}")
    return bool(beyond)
