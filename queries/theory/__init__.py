"""Theories: curves of a family computed from a run's settings, kept beside the runs."""

from isoflop.queries.theory.predictions import predict_runs, score_runs
from isoflop.queries.theory.registry import THEORIES, find_theory, known_theories
from isoflop.queries.theory.theory import PredictedCurves, Theory

__all__ = [
    "THEORIES",
    "PredictedCurves",
    "Theory",
    "find_theory",
    "known_theories",
    "predict_runs",
    "score_runs",
]
