"""The verbs: one function for each, from its node to its rows."""

from isoflop.queries.language.verbs.answer import answer_verb

__all__ = ["answer_verb"]
