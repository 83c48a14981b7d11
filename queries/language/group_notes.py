"""What is said beside an answer about several groups: each sentence names its group, and no sentence comes for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import GIVEN

if TYPE_CHECKING:
    from isoflop.queries.language.fits import Fitted

MOST_NAMED = 3  # groups with a sentence of their own; of more a line counts them, and the column notes has the rest


def note_status(question: Question, status: str, reason: str | None = None, group: str | None = None) -> None:
    """Say that a fit is not to be relied on, when it is not.

    Parameters
    ----------
    group : the group that it is of, where there are several
    """
    if status not in ("converged", GIVEN):
        whose = "" if group is None else f"group '{group}': "
        question.note(f"{whose}the fit {_is(status)}" + (f": {reason}" if reason else ""))


def note_health(question: Question, fitted: Fitted) -> None:
    """Say what is wrong with the fits of a clause, of several with the group that each is of."""
    if not fitted.labels:
        ((_, found),) = fitted.parts
        if found is not None:
            note_status(question, found.status, found.reason)
            for note in found.notes:
                question.note(note.message)
        return
    fits = [(label, found) for label, (_, found) in zip(fitted.labels, fitted.parts, strict=True)]
    note_statuses(question, fits)
    _note_notes(question, fits, {note.code for note in fitted.rows.notes})


def note_statuses(question: Question, fits: Sequence[tuple[str, FitRecord | None]]) -> None:
    """Say which groups have no fit to rely on.

    Parameters
    ----------
    fits : the name of each group with its fit; None where no row is usable
    """
    failed = [(label, found) for label, found in fits if found is None or not found.is_converged]
    if not failed:
        return
    if len(failed) <= MOST_NAMED:
        for label, found in failed:
            if found is None:
                question.note(f"group '{label}' has no usable row")
            else:
                note_status(question, found.status, found.reason, label)
        return
    statuses = [(label, "too_few_rows" if found is None else found.status) for label, found in failed]
    kinds = dict.fromkeys(status for _, status in statuses)
    by_status = {kind: [label for label, status in statuses if status == kind] for kind in kinds}
    said = "; ".join(f"{status.replace('_', ' ')}: {_listed(labels)}" for status, labels in by_status.items())
    question.note(f"{len(failed)} of {len(fits)} groups have no fit to rely on ({said}); status and notes say why")


def _note_notes(question: Question, fits: Sequence[tuple[str, FitRecord | None]], about_rows: set[str]) -> None:
    """Say what is to be known of single groups, once for each kind of note.

    Parameters
    ----------
    about_rows : codes of the notes on the rows of all groups, which are said already
    """
    failed = [found.reason for _, found in fits if found is not None and not found.is_converged and found.reason]
    by_code: dict[str, list[tuple[str, str]]] = {}
    for label, found in fits:
        for note in [] if found is None else found.notes:
            if note.code not in about_rows and not any(map(note.message.startswith, failed)):
                by_code.setdefault(note.code, []).append((label, note.message))
    for own in by_code.values():
        messages = dict.fromkeys(message for _, message in own)
        if len(messages) == 1 and len(own) == len(fits):
            question.note(own[0][1])
            continue
        named = [label for label, message in own if message == own[0][1]]
        groups = "group" if len(named) == 1 else "groups"
        rest = len(own) - len(named)
        have = "group has" if rest == 1 else "groups have"
        others = f"; {rest} other {have} a note like it in the column notes" if rest else ""
        question.note(f"{groups} {_listed(named)}: {own[0][1]}{others}")


def _listed(labels: Sequence[str]) -> str:
    """Return the names of groups, of many the first ones and how many more there are."""
    shown = [f"'{label}'" for label in labels[:MOST_NAMED]]
    more = [f"{len(labels) - MOST_NAMED} more"] if len(labels) > MOST_NAMED else []
    return ", ".join([*shown, *more])


def _is(status: str) -> str:
    """Return a status as the rest of a sentence."""
    return "has too few rows" if status == "too_few_rows" else f"is {status.replace('_', ' ')}"
