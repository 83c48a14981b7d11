"""The columns of a prediction, as the reference says them."""

from __future__ import annotations

INTERVAL = {
    "predicted_<target>": "what the law says [unit of the target]",
    "lower": "lower end of the interval [unit of the target]; null for a law without resamples",
    "upper": "upper end [unit of the target]",
}
PREDICTION = {
    **INTERVAL,
    "level": "share of new runs that the interval is to hold [1]",
    "interval": "`prediction`, for a new run, or `confidence`, for the law's curve",
    "ratio": "struct, one field an input: value over the largest value of the law's rows [1]; 10 is one decade beyond",
    "in_support": "whether every input lies within the range of the law's rows",
}
