"""The expected losses of random features over time, width and data, averaged over features, samples and batches.

Exact for many modes, features and samples in proportion: the flow and descent with and without momentum, on data
without end or on P samples, all at once or in batches, for single students and for the mean of several. How, and what
the deviations are, is in `isoflop.queries.theory.student_losses`.

Means of 60 runs of 64 to 128 features lie within 3.5 of their standard errors, and within 4 per cent where those are
below 1 per cent; at the turns of heavy balls so fast that their first modes swing they are off by 9 per cent at 128
features and 6 at 256. Single runs scatter by 10 to 20 per cent at 100 features. The deviation is 0.7 to 1.3 times the
scatter of the loss, most often within 15 per cent, and least at late times; that of the train loss 0.6 to 1.7 times. A
run of batches goes 20,000 steps at most.

Exponents are those of long power laws, with b = 2 alpha and a = 2 (alpha + beta): of time, of width and samples when
trained for long, and on the frontier of compute N t. They hold for times below M^b, for width and samples below M / 4.

>>> import numpy as np
>>> config = {"dimension": 400, "width": 128, "samples": 256, "batch_size": None, "noise": 0.0, "students": 1,
...           "students_draw": "features", "spectrum_exponent": 0.625, "target_exponent": 0.125,
...           "optimizer": "gradient_flow", "learning_rate": 1.0, "momentum": None, "steps": 1000, "seed": 0}
>>> found = DMFT_RANDOM_FEATURES.predict(config, np.array([0, 10, 1000]))
>>> found.mean["loss"].round(3), found.mean["train_loss"].round(3)
(array([2.512, 0.538, 0.336]), array([2.512, 0.46 , 0.109]))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoflop.queries.theory.student_losses import predicted_losses
from isoflop.queries.theory.theory import PredictedCurves, Setting, Steps, Theory


class DmftRandomFeatures(Theory):
    """Bordelon et al.'s losses of `random_features`, and their exponents."""

    name = "dmft_random_features"
    family = "random_features"
    fields = (
        "dimension", "width", "samples", "batch_size", "noise", "students", "students_draw", "spectrum_exponent",
        "target_exponent", "optimizer", "learning_rate", "momentum",
    )  # fmt: skip
    optional_fields = ("samples", "batch_size", "momentum")
    metrics: Mapping[str, str] = {"loss": "1", "train_loss": "1"}
    source = "Bordelon et al. 2024 (arXiv:2402.01092), sections 3 and 4"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected losses and deviations at (T,) steps."""
        horizon = max(int(config["steps"]), int(at.max(initial=1)))
        settings = {field: config.get(field) for field in self.fields}
        return predicted_losses(horizon, at, **settings, tested_exponent=None)

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the powers of time, width, samples and compute; empty where the spectrum or the target has no sum."""
        alpha, beta = config["spectrum_exponent"], config["target_exponent"]
        assert isinstance(alpha, int | float) and isinstance(beta, int | float)
        spectrum, task = 2 * alpha, 2 * (alpha + beta)
        if spectrum <= 1 or task <= 1:
            return {}
        excess, width = task - 1, min(task - 1, spectrum)
        total = excess + spectrum * width
        return {
            "time": -excess / spectrum, "width": -width, "samples": -min(excess, 2 * spectrum),
            "compute": -excess * width / total, "best_width": excess / total,
        }  # fmt: skip


DMFT_RANDOM_FEATURES = DmftRandomFeatures()
