"""What the reference says of each verb: a new verb has its page here, its rule in `syntax/grammar.py`."""

from isoflop.queries.language.reference.asking import (
    DESIGN,
    EXTRAPOLATE,
    EXTRAPOLATE_AVERAGE,
    FORECAST,
    OPTIMIZE,
    PREDICT,
    RESIDUALS,
    SHOW_FORECASTS,
)
from isoflop.queries.language.reference.fitting import CREATE_LAW, EXPLAIN, FIT, REFIT_LAW
from isoflop.queries.language.reference.judging import COMPARE, COMPARE_APPROACHES, CROSS_VALIDATE
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
    FIT, EXPLAIN, CREATE_LAW, SHOW_LAWS, DESCRIBE_LAW, SHOW_LAW_FORMS, EXTRAPOLATE, EXTRAPOLATE_AVERAGE, PREDICT,
    RESIDUALS, FORECAST, SHOW_FORECASTS, CROSS_VALIDATE, COMPARE, COMPARE_APPROACHES, OPTIMIZE, DESIGN, REFIT_LAW,
    ALTER_LAW, COMMENT_ON_LAW, DROP_LAW,
)  # fmt: skip

__all__ = ["PAGES", "Page"]
