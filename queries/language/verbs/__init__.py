"""The verbs of the language, and what is derived from them.

A verb is a record: a file here that makes one, and its name in `VERBS`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from isoflop.queries.language.syntax.grammar import Grammar
from isoflop.queries.language.syntax.words import Words
from isoflop.queries.language.verb import Verb
from isoflop.queries.language.verbs.asking import (
    EXTRAPOLATE,
    EXTRAPOLATE_AVERAGE,
    FORECAST,
    PREDICT,
    RESIDUALS,
    SHOW_FORECASTS,
)
from isoflop.queries.language.verbs.best import EXTRAPOLATE_BEST
from isoflop.queries.language.verbs.choosing import DESIGN, OPTIMIZE
from isoflop.queries.language.verbs.fitting import CREATE_LAW, EXPLAIN, FIT, REFIT_LAW
from isoflop.queries.language.verbs.gaining import COMPARE_GAIN
from isoflop.queries.language.verbs.judging import COMPARE, COMPARE_APPROACHES, CROSS_VALIDATE
from isoflop.queries.language.verbs.keeping import (
    ALTER_LAW,
    COMMENT_ON_LAW,
    DESCRIBE_LAW,
    DROP_LAW,
    SHOW_LAW_FORMS,
    SHOW_LAWS,
)
from isoflop.queries.language.verbs.predicting import DESCRIBE_THEORY, PREDICT_RUNS, SHOW_THEORIES
from isoflop.queries.language.verbs.published import SHOW_PUBLISHED_LAWS
from isoflop.queries.language.verbs.sweeping import OPTIMUM

Verbs = tuple[Verb[Any], ...]

# In the order of reference and shell: examples of one verb may name what those of an earlier one made.
VERBS: Verbs = (
    FIT,
    CREATE_LAW,
    SHOW_LAWS,
    DESCRIBE_LAW,
    SHOW_LAW_FORMS,
    SHOW_PUBLISHED_LAWS,
    EXTRAPOLATE,
    EXTRAPOLATE_AVERAGE,
    EXTRAPOLATE_BEST,
    PREDICT,
    RESIDUALS,
    PREDICT_RUNS,
    SHOW_THEORIES,
    DESCRIBE_THEORY,
    FORECAST,
    SHOW_FORECASTS,
    CROSS_VALIDATE,
    COMPARE,
    COMPARE_APPROACHES,
    COMPARE_GAIN,
    OPTIMIZE,
    OPTIMUM,
    DESIGN,
    EXPLAIN,
    REFIT_LAW,
    COMMENT_ON_LAW,
    ALTER_LAW,
    DROP_LAW,
)


def words() -> Words[Verb[Any]]:
    """Return the words that the verbs begin with."""
    return _words(VERBS)


def grammar() -> Grammar:
    """Return the rules of the verbs."""
    return _grammar(VERBS)


@cache
def _words(verbs: Verbs) -> Words[Verb[Any]]:
    return Words(verbs)


@cache
def _grammar(verbs: Verbs) -> Grammar:
    return Grammar({verb.key: verb.rule for verb in verbs})
