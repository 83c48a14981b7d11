"""Table functions of linear networks and kernels: learned features, SGD on a set of samples, the best features."""

from __future__ import annotations

from isoflop.queries.language.functions.function import Argument, Asked, Row, TableFunction, number

USUAL_MODES = 1_000_000  # of data on which SGD is trained, as good as infinitely many for spectra with a sum


def _rich_exponents(asked: Asked) -> list[Row]:
    from dataclasses import asdict

    from isoflop.queries.theory.feature_learning import rich_exponents

    return [asdict(rich_exponents(number(row["alpha"]), number(row["beta"]))) for row in asked]


def _rich_curves(asked: Asked) -> list[Row]:
    import numpy as np

    from isoflop.queries.theory.feature_learning import rich_curve, rich_exponents

    tasks: dict[tuple[float, ...], list[int]] = {}
    for place, row in enumerate(asked):
        task = tuple(number(row[name]) for name in ("alpha", "beta", "richness"))
        rich_exponents(*task[:2])  # refuses what has no curve
        tasks.setdefault(task, []).append(place)
    found: list[Row] = [{} for _ in asked]
    for (alpha, beta, richness), places in tasks.items():
        times = np.array([number(asked[place]["time"]) for place in places])
        at = np.unique(times)
        losses = rich_curve(alpha, beta, richness, at)
        for place, position in zip(places, np.searchsorted(at, times).tolist(), strict=True):
            found[place] = {"loss": float(losses[position])}
    return found


def _sgd_losses(asked: Asked) -> list[Row]:
    from isoflop.queries.theory.equivalents import power_law_modes
    from isoflop.queries.theory.two_point import LinearSgd, sgd_losses

    names = ("spectrum", "target", "samples", "features", "batch_size", "learning_rate")
    tasks: dict[tuple[float, ...], list[int]] = {}
    for place, row in enumerate(asked):
        settings = *(number(row[name]) for name in names), row["noise"] or 0.0, row["modes"] or USUAL_MODES
        tasks.setdefault(settings, []).append(place)
    found: list[Row] = [{} for _ in asked]
    for (spectrum, target, samples, features, batch_size, learning_rate, noise, modes), places in tasks.items():
        kinds = power_law_modes(int(modes), spectrum, target)
        longest = max(int(number(asked[place]["step"])) for place in places)
        of_sgd, of_descent = (
            sgd_losses(
                LinearSgd(
                    modes=kinds, samples=samples, features=features, batch_size=size, learning_rate=learning_rate,
                    noise=noise,
                ),
                longest,
            )
            for size in (batch_size, float("inf"))
        )  # fmt: skip
        for place in places:
            step = int(number(asked[place]["step"]))
            losses = {"test": of_sgd.test[step], "train": of_sgd.train[step], "descent": of_descent.test[step]}
            found[place] = {"modes": int(modes), "noise": noise, **{name: float(loss) for name, loss in losses.items()}}
    return found


def _random_feature_losses(asked: Asked) -> list[Row]:
    import numpy as np

    from isoflop.lakehouse.models.linear_descent import LinearDescent
    from isoflop.queries.theory.equivalents import power_law_modes
    from isoflop.queries.theory.student_losses import StudentTheory
    from isoflop.queries.theory.student_pairs import Student

    names = ("spectrum", "target", "samples", "features")
    tasks: dict[tuple[float, ...], list[int]] = {}
    for place, row in enumerate(asked):
        settings = *(number(row[name]) for name in names), row["noise"] or 0.0, row["modes"] or USUAL_MODES
        tasks.setdefault(settings, []).append(place)
    found: list[Row] = [{} for _ in asked]
    for (spectrum, target, samples, features, noise, modes), places in tasks.items():
        times = np.array([number(asked[place]["time"]) for place in places])
        unit = float(times[times > 0].min(initial=np.inf)) if times.any() else 1.0
        student = Student(
            modes=power_law_modes(int(modes), spectrum, target), samples=samples, features=features, noise=noise,
            descent=LinearDescent(unit, is_flow=True),
        )  # fmt: skip
        at = np.unique(times)
        losses = StudentTheory(student, int(np.ceil(at[-1] / unit))).losses(at / unit)
        for place, position in zip(places, np.searchsorted(at, times).tolist(), strict=True):
            found[place] = {
                "modes": int(modes), "noise": noise, "test": float(losses.test[position]),
                "train": float(losses.train[position]), "deviation": float(losses.test_deviation[position]),
            }  # fmt: skip
    return found


def _feature_bounds(asked: Asked) -> list[Row]:
    from isoflop.queries.theory.kernel_features import gaussian_errors

    found: list[Row] = []
    for row in asked:
        variance, dimension = number(row["variance"]), int(number(row["dimension"]))
        errors = gaussian_errors([variance] * dimension)
        count = number(row["features"])
        found.append(
            {
                "bound": errors.bound / count,
                "cosine": errors.cosine / count,
                "positive": None if errors.positive is None else errors.positive / count,
                "sampling_variance": 1 + 4 * variance,
            }
        )
    return found


RICH_EXPONENTS = TableFunction(
    name="rich_exponents",
    purpose=(
        "What learning features does to the exponents of a linear network: hard tasks, beta < 1, fall as "
        "t^-(2 beta / (1 + beta)) rather than t^-beta, easy ones gain nothing."
    ),
    module="isoflop.queries.theory.feature_learning",
    source="Bordelon et al. 2024 (arXiv:2409.17858), section 4",
    arguments=(
        Argument("alpha", "the data have the spectrum k^-alpha [1]", above=1.0),
        Argument("beta", "the target beyond mode k weighs k^-(alpha beta) [1]"),
    ),
    columns={
        "difficulty": "`hard`, `easy` or `super-easy`",
        "time_lazy": "the loss falls as time^-this without learned features [1]",
        "time_rich": "and with them [1]",
        "width": "trained for long it falls as width^-this [1]",
        "compute_lazy": "the lowest loss falls as compute^-this, for compute = width * time [1]",
        "compute_rich": "and with learned features [1]",
        "best_width_lazy": "its width grows as compute^this [1]",
        "best_width_rich": "and with learned features [1]",
    },
    rows=_rich_exponents,
    texts=("difficulty",),
    examples=(
        "SELECT alpha, beta, difficulty, round(compute_lazy, 4) AS lazy, round(compute_rich, 4) AS rich\n"
        "FROM rich_exponents([1.5, 2], [0.5, 1.2, 1.5])",
    ),
    mistakes=("FROM rich_exponents(0.9, 0.5)",),
)
RICH_CURVES = TableFunction(
    name="rich_curves",
    purpose=(
        "The loss over time of a linear network of infinite width with all data at once, on power-law data, whose "
        "features learn by `richness` as much as its readout; richness 0 is lazy."
    ),
    module="isoflop.queries.theory.feature_learning",
    source="Bordelon et al. 2024 (arXiv:2409.17858), section 3",
    arguments=(
        *RICH_EXPONENTS.arguments,
        Argument("richness", "gamma, learning rate of the features over that of the readout [1]", may_be_zero=True),
        Argument("time", "t, learning rate times steps"),
    ),
    columns={"loss": "[1]"},
    rows=_rich_curves,
    examples=("SELECT richness, time, round(loss, 5) AS loss FROM rich_curves(2, 0.5, [0, 0.1, 1], [10, 100, 1000])",),
)

SGD_LOSSES = TableFunction(
    name="sgd_losses",
    purpose=(
        "Test and train loss of minibatch SGD that goes over the same samples again and again, for random features of "
        "power-law data: the mean over draws of samples, features and batches, which are drawn with replacement. "
        "Steps are 20,000 at most."
    ),
    module="isoflop.queries.theory.two_point",
    source="Atanasov et al. 2025 (arXiv:2502.05074)",
    arguments=(
        Argument("spectrum", "b of the variances k^-b [1]", above=1.0),
        Argument("target", "a of the target's share k^-a of mode k [1]", above=1.0),
        Argument("samples", "P", is_whole=True),
        Argument("features", "N", is_whole=True),
        Argument("batch_size", "B, averaged; well below the samples"),
        Argument("learning_rate", "eta [1]"),
        Argument("step", "n", is_whole=True, may_be_zero=True),
        Argument("noise", "variance of the labels' noise [target^2]; 0", may_be_zero=True, is_optional=True),
        Argument("modes", "of the data; 1,000,000", is_whole=True, is_optional=True),
    ),
    columns={
        "test": "without the noise of labels [target^2]",
        "train": "with it [target^2]",
        "descent": "test loss of full-batch gradient descent [target^2]",
    },
    rows=_sgd_losses,
    examples=(
        "SELECT batch_size, step, round(test, 4) AS test, round(train, 4) AS train, round(test / descent, 3) AS ratio\n"
        "FROM sgd_losses(1.25, 1.5, 200, 100, [1, 4], 0.15, [0, 100, 600])",
    ),
    mistakes=("FROM sgd_losses(1.25, 1.5, 200, 100, 1, 5, 100)",),
)
RANDOM_FEATURE_LOSSES = TableFunction(
    name="random_feature_losses",
    purpose=(
        "Test and train loss of the flow of random features over time, width and data together: the mean over draws of "
        "features and samples, and the standard deviation of one draw. What runs of `random_features` are predicted by."
    ),
    module="isoflop.queries.theory.student_losses",
    source="Bordelon et al. 2024 (arXiv:2402.01092)",
    arguments=(
        *SGD_LOSSES.arguments[:4],
        Argument("time", "t, learning rate times steps", may_be_zero=True),
        *SGD_LOSSES.arguments[-2:],
    ),
    columns={
        "test": "without the noise of labels [target^2]",
        "train": "with it [target^2]",
        "deviation": "of the test loss of one draw, about 0.7 to 1.3 times its scatter [target^2]",
    },
    rows=_random_feature_losses,
    examples=(
        "SELECT features, samples, time, round(test, 4) AS test, round(train, 4) AS train\n"
        "FROM random_feature_losses(1.5, 1.75, [100, 1000], [64, 256], [10, 1000])",
    ),
    mistakes=("FROM random_feature_losses(0.9, 1.75, 100, 64, 10)",),
)
FEATURE_BOUNDS = TableFunction(
    name="feature_bounds",
    purpose=(
        "The least mean squared error with which independent random features can estimate a Gaussian kernel on "
        "Gaussian data, whatever the representation, and that of two usual ones without optimal sampling."
    ),
    module="isoflop.queries.theory.kernel_features",
    source="Sernau et al. 2024 (arXiv:2406.18802)",
    arguments=(
        Argument("variance", "S, of each coordinate of the data [width of the kernel squared]"),
        Argument("dimension", "of the data", is_whole=True),
        Argument("features", "m, random features", is_whole=True),
    ),
    columns={
        "bound": "least error, over pairs of points [1]",
        "cosine": "of cosines with a random phase, drawn as usual [1]",
        "positive": "of positive exponentials, drawn as usual; null where it has no end, from S = 1/4 on [1]",
        "sampling_variance": "of the normal law from which positive exponentials reach the bound [1]",
    },
    rows=_feature_bounds,
    examples=("FROM feature_bounds([0.1, 0.2, 1], 4, 64)",),
)
