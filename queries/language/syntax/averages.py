"""Several laws on shared rows with the points they are asked about: EXTRAPOLATE AVERAGE OF and BEST OF."""

from __future__ import annotations

from typing import TypeVar

from isoflop.queries.language.syntax.nodes import Candidate, ExtrapolateAverage, Span
from isoflop.queries.language.syntax.parts import (
    OPTIONS,
    no_groups,
    read_options,
    read_source,
    read_subjects,
    read_targets,
)
from isoflop.queries.language.syntax.reader import TokenReader

A = TypeVar("A", bound=ExtrapolateAverage)


def read_average(reader: TokenReader, word: str, usage: str, node: type[A]) -> A:
    """Read a clause from its EXTRAPOLATE on.

    Parameters
    ----------
    word : between EXTRAPOLATE and OF
    usage : an example for errors
    node : what it is read into
    """
    start, first = reader.begin("EXTRAPOLATE"), reader.current
    verb = f"EXTRAPOLATE {word}"
    reader.expect(f"{word} OF")
    subjects = read_subjects(reader, usage, f"{word} OF")
    if len(subjects) < 2:
        raise reader.error("an average takes two laws or more", Span(first.start, reader.end), usage)
    source = read_source(reader, verb, "TO") if reader.at("FROM") else None
    if source is not None and source.groups:
        raise no_groups(reader, source, verb)
    if source is None and (typed := [subject for subject in subjects if isinstance(subject, Candidate)]):
        hint = f"say which, for all laws: {verb} OF … FROM runs TO …"
        raise reader.error("a law that is not saved needs rows to be fitted to", typed[0], hint)
    target, assignments, query = read_targets(reader, usage, OPTIONS)
    options = read_options(reader)
    return node(start, reader.end, subjects, source, target, assignments, query, options)
