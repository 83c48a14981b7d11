"""What a law's own notes say against its predictions: it follows the law into every answer that rests on it."""

from __future__ import annotations

from collections.abc import Sequence

from isoflop.queries.fitting.scale import ROBUST_ROWS
from isoflop.queries.language.group_notes import MOST_NAMED
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord

OF_FIT = ("outliers", "law_does_not_fit", "no_spare_rows", "rival_basin", "unstable_basin", "failed_resamples")
OF_ROWS = ("swapped_inputs", "other_unit", "counts_in_billions", "serial_residuals")  # said already by a fit just made
_TODO = "leave out with WHERE what was measured wrong"


def note_trouble(question: Question, records: Sequence[LawRecord]) -> None:
    """Say what the fits of laws have found that makes their predictions doubtful, of many groups the first ones.

    Parameters
    ----------
    records : the laws, each with the notes of its fit
    """
    troubled = [(record, messages) for record in records if (messages := trouble_of(record))]
    for record, messages in troubled[:MOST_NAMED]:
        for message in messages:
            question.note(f"{record.title}: {message}")
    if len(troubled) > MOST_NAMED:
        more = len(troubled) - MOST_NAMED
        question.note(f"the fits of {more} more group{'s' * (more > 1)} have notes of their own: FIT shows them")


def trouble_of(record: LawRecord) -> list[str]:
    """Return the messages among the notes of a law that make its predictions doubtful."""
    codes = OF_FIT if record.name is None else OF_FIT + OF_ROWS
    noted = [note.partition(": ") for note in record.notes]
    is_wide = len(record.residuals) < ROBUST_ROWS  # of more rows a few wild ones do not make the scatter wider
    todo = f"intervals count it as scatter; {_TODO}" if is_wide else _TODO
    return [f"{message}; {todo}" if code == "outliers" else message for code, _, message in noted if code in codes]
