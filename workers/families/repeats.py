"""Data that a run sees more than once, as it is said before it trains and while it does."""

from __future__ import annotations

from collections.abc import Sequence

from isoflop.lakehouse.models.repeats import FEW_EPOCHS, NOTICED
from isoflop.lakehouse.units import format_count
from isoflop.workers.corpora.corpus import CorpusSpec
from isoflop.workers.families.experiment import Experiment

WHAT_TO_DO = (
    f"up to {FEW_EPOCHS:g} epochs are nearly as good as new data, more are not; a law of params and tokens takes them "
    "for new, data_constrained(params, unique_tokens, epochs) does not"
)


def repeated_data(runs: Sequence[Experiment]) -> list[str]:
    """Return a sentence for each corpus that runs which are planned together read more than once."""
    found: dict[CorpusSpec, list[float]] = {}
    for run in runs:
        corpus, tokens = getattr(run, "corpus", None), getattr(run, "tokens", None)
        if isinstance(corpus, CorpusSpec) and tokens:
            found.setdefault(corpus, []).append(float(tokens))
    said = []
    for corpus, asked in found.items():
        there = corpus.about_tokens()
        repeating = [tokens for tokens in asked if there and tokens > NOTICED * there]
        if there and repeating:
            most = max(repeating) / there
            said.append(
                f"repeated data: {len(repeating)} of {len(asked)} runs read {corpus.label}, which has about "
                f"{format_count(there)} tokens, up to {most:.1f} times; {WHAT_TO_DO}"
            )
    return said


def said_of_epochs(label: str, unique: int, epochs: float) -> str | None:
    """Return the sentence in the log of a run that sees its data more than once, None for one that does not."""
    if epochs <= NOTICED:
        return None
    return f"repeated data: {format_count(unique)} tokens of {label} are seen {epochs:.1f} times; {WHAT_TO_DO}"
