"""Planning: what to train for a budget, and how sure that is."""

from isoflop.queries.planning.approaches import Slices, slices_of_curves, slices_of_runs
from isoflop.queries.planning.comparison import Approach, ApproachComparison
from isoflop.queries.planning.isoflop import compare_approaches

__all__ = ["Approach", "ApproachComparison", "Slices", "compare_approaches", "slices_of_curves", "slices_of_runs"]
