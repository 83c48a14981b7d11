"""What can be asked of the runs: laws, fits, and the language that names them; and estimators for a table of any data.

The estimators are loaded when first asked for: scikit-learn takes a second to import.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoflop.queries.estimators import AdaptiveKernelRegressor, NNGPRegressor, NTKRegressor

__all__ = ["AdaptiveKernelRegressor", "NNGPRegressor", "NTKRegressor"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from isoflop.queries import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
