"""A plan over widths at one learning rate says what that does, where the parametrization wants a rate for each."""

from __future__ import annotations

import pytest

from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import parse_documents

SWEEP = """\
name: widths
family: transformer
corpus: {{kind: markov, vocabulary: 16}}
grid: {{width: {widths}, depth: 1, steps: 2{more}}}
derive: {{{derive}}}
"""


def notes(widths: str = "[16, 32, 64]", more: str = "", derive: str = "") -> list[str]:
    text = SWEEP.format(widths=widths, more=more, derive=derive)
    [sweep] = checked_sweeps(parse_documents(text, "sweep.yaml"))
    return list(sweep.expand().notes)


def test_one_rate_for_several_widths_is_said_before_they_train() -> None:
    [note] = notes()
    assert note.startswith(
        "one rate: widths 16 to 64 train at one learning_rate, 0.003, under parametrization standard"
    )


@pytest.mark.parametrize(
    ("widths", "more", "derive"),
    [
        ("[16, 24]", "", ""),
        ("[16, 64]", ", parametrization: mup", ""),
        ("[16, 64]", ", learning_rate: [0.001, 0.003]", ""),
        ("[16, 64]", "", "learning_rate: 0.1 / width"),
    ],
)
def test_nothing_is_said_of_near_widths_other_rates_or_another_parametrization(
    widths: str, more: str, derive: str
) -> None:
    assert notes(widths, more, derive) == []
