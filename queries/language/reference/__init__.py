"""What the reference says of each verb: a new verb has its page here, its rule in `syntax/grammar.py`."""

from isoflop.queries.language.reference.asking import (
    EXTRAPOLATE,
    FORECAST,
    OPTIMIZE,
    PREDICT,
    RESIDUALS,
    SHOW_FORECASTS,
)
from isoflop.queries.language.reference.fitting import CREATE_LAW, EXPLAIN_FIT, FIT
from isoflop.queries.language.reference.judging import COMPARE, CROSS_VALIDATE
from isoflop.queries.language.reference.keeping import (
    ALTER_LAW,
    COMMENT_ON_LAW,
    DESCRIBE_LAW,
    DROP_LAW,
    SHOW_LAW_FORMS,
    SHOW_LAWS,
)
from isoflop.queries.language.reference.page import Page

# In this order; the examples of one page may name what those of an earlier one made.
PAGES = (
    FIT, EXPLAIN_FIT, CREATE_LAW, SHOW_LAWS, DESCRIBE_LAW, SHOW_LAW_FORMS, EXTRAPOLATE, PREDICT, RESIDUALS, FORECAST,
    SHOW_FORECASTS, CROSS_VALIDATE, COMPARE, OPTIMIZE, ALTER_LAW, COMMENT_ON_LAW, DROP_LAW,
)  # fmt: skip

__all__ = ["PAGES", "Page"]
