"""Scikit-learn estimators of infinitely wide networks; loaded when asked for, as scikit-learn takes a second."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoflop.queries.estimators.kernel_regressors import AdaptiveKernelRegressor, NNGPRegressor, NTKRegressor

__all__ = ["AdaptiveKernelRegressor", "NNGPRegressor", "NTKRegressor"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from isoflop.queries.estimators import kernel_regressors

        return getattr(kernel_regressors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
