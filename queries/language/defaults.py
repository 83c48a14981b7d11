"""Numbers of resamples that verbs take unless a statement says otherwise."""

RESAMPLES = 200  # of each fold, of each approach and of an average
OPTIMUM_RESAMPLES = 100  # of the law, each with an optimum of its own
