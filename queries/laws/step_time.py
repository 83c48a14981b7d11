"""The time of a training step from its arithmetic, its memory traffic and its number of layers.

All coefficients are prices: seconds, seconds per operation, seconds per byte, seconds per layer. They belong to
one device, one precision and one way of compiling, and do not transfer.
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, floor
from isoflop.queries.laws.objectives import RelativeSquares

STEP_TIME = Formula(
    name="step_time",
    law="c_0 + c_f * flops + c_m * memcpy_bytes + c_L * depth",  # [second/step]
    inputs=(
        Input("flops", "flop/step", positive=False),
        Input("memcpy_bytes", "byte/step", positive=False),
        Input("depth", "layer", positive=False),
    ),
    coefficients=(floor("c_0"), amplitude("c_f"), amplitude("c_m"), amplitude("c_L")),
    target="step_seconds",
    unit="second/step",
    objective=RelativeSquares(),
    source="Inbar and Sernau 2024 (arXiv:2406.18922), with terms for arithmetic and depth",
)
