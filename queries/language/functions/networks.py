"""Table functions of networks of random weights: covariances of tokens in deep shaped transformers."""

from __future__ import annotations

from isoflop.queries.language.functions.function import Argument, Asked, Row, TableFunction, number

USUAL_TOKENS = 4
USUAL_CORRELATION = 0.2  # of the tokens at first, as in the paper's figures
QUANTILES = ("q10", "q16", "q50", "q84", "q90")  # in the order of the theory
SHOWN = {  # of what is kept, column -> metric and quantile
    f"{metric}_{quantile}": (metric, QUANTILES.index(quantile))
    for metric in ("correlation", "variance")
    for quantile in ("q10", "q50", "q90")
}


def _covariance_sde(asked: Asked) -> list[Row]:
    import numpy as np

    from isoflop.queries.theory.covariance_sde import limit_statistics
    from isoflop.queries.theory.shaped_covariance import ShapedNetwork

    networks: dict[ShapedNetwork, dict[int, float]] = {}
    found: list[Row] = []
    for place, row in enumerate(asked):
        correlation, bend = row["first_correlation"], row["bend"] or 0.0
        network = ShapedNetwork(
            sequence_length=int(row["sequence_length"] or USUAL_TOKENS),
            first_correlation=USUAL_CORRELATION if correlation is None else float(correlation),
            gamma=number(row["gamma"]),
            temperature=float(row["temperature"] or 1.0),
            feed_forward=bend > 0,
            positive_slope=float(bend),
            negative_slope=0.0,
        )
        networks.setdefault(network, {})[place] = number(row["depth"]) / number(row["width"])
        names = ("sequence_length", "temperature", "first_correlation")
        found.append({**{name: getattr(network, name) for name in names}, "bend": float(bend)})
    for network, times in networks.items():
        paths = limit_statistics(network, max(times.values()))
        curves = {
            "correlation_mean": paths.mean["correlation"],
            "correlation_deviation": paths.deviation["correlation"],
            **{column: paths.quantiles[metric][:, quantile] for column, (metric, quantile) in SHOWN.items()},
            "rank_mean": paths.mean["rank"],
            "exploded": paths.exploded,
        }
        values = {name: paths.at(np.array(list(times.values())), curve) for name, curve in curves.items()}
        for position, place in enumerate(times):
            found[place] |= {name: float(curve[position]) for name, curve in values.items()}
    return found


COVARIANCE_SDE = TableFunction(
    name="covariance_sde",
    purpose=(
        "What the tokens of a shaped transformer of random weights are like after some layers: their correlation and "
        "variance over draws of the weights, in the limit of large width, where depth over width decides alone."
    ),
    module="isoflop.queries.theory.shaped_covariance",
    source="Noci et al. 2023 (arXiv:2306.17759)",
    arguments=(
        Argument("depth", "d, layers", is_whole=True, may_be_zero=True),
        Argument("width", "n, of the residual stream", is_whole=True),
        Argument("gamma", "weight of what a layer adds, at most 1; the stream keeps sqrt(1 - gamma^2) [1]"),
        Argument("sequence_length", "T, tokens; 4", is_whole=True, is_optional=True),
        Argument("temperature", "tau_0 of softmax [1]; 1", is_optional=True),
        Argument("first_correlation", "of every two tokens at first [1]; 0.2", above=-1.0, is_optional=True),
        Argument("bend", "c_+ - c_- of a feed-forward part; 0, no such part [1]", may_be_zero=True, is_optional=True),
    ),
    columns={
        "correlation_mean": "over pairs of tokens and draws of the weights [1]",
        "correlation_deviation": "of one draw [1]",
        "correlation_q10": "a tenth of the draws is below [1]",
        "correlation_q50": "half of them are [1]",
        "correlation_q90": "nine tenths are [1]",
        "variance_q10": "of |x|^2 / width, mean over tokens, in units of what it is at first: a tenth is below [1]",
        "variance_q50": "half of them are [1]",
        "variance_q90": "nine tenths are [1]",
        "rank_mean": "tokens that are worth as much without correlations [1]",
        "exploded": "share of the draws in which a variance has passed 50, and stops there [1]",
    },
    rows=_covariance_sde,
    examples=(
        "SELECT depth, round(correlation_mean, 2) AS mean, round(correlation_q10, 2) AS low,\n"
        "  round(correlation_q90, 2) AS high, round(variance_q50, 2) AS variance\n"
        "FROM covariance_sde([16, 64], 128, 0.5)",
    ),
    mistakes=("FROM covariance_sde(100, 128, 1.5)", "FROM covariance_sde(100, 128, 0.5, first_correlation := -0.5)"),
)
