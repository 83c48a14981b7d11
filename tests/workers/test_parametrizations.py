"""Parametrizations: tables against the papers', the base where all agree, and what they promise of width and depth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from isoflop.lakehouse.errors import UsageError
from isoflop.workers import Transformer
from isoflop.workers.components import AdamW, CompleteP, DepthMup, Mup, Ntk, Shape, Standard
from isoflop.workers.components.optimizers import EPSILON, weight_groups
from isoflop.workers.components.parametrization import Parametrization
from isoflop.workers.components.scalings import COMPLETEP, DEPTH_MUP, MUP, NTK, STANDARD, Learning, value
from isoflop.workers.coordinates import Coordinates, LayerCheck, check, measure, of_family, of_function
from isoflop.workers.devices import Cpu
from isoflop.workers.families import ConfigError

LANGUAGE = {"kind": "markov", "vocabulary": 64}
SMALL = {"corpus": LANGUAGE, "width": 32, "depth": 2, "sequence_length": 16, "batch_size": 8, "steps": 4}
SCALED = ("ntk", "mup", "depth_mup", "completep")
FAR = Shape(inputs=256, outputs=256, depth=16, width=256)  # 4 times as wide as the base and 8 times as deep
BASE = {"base_width": 64, "base_depth": 2}


def run(**changes: Any) -> Transformer:
    return Transformer.parse({**SMALL, **changes})


@pytest.mark.parametrize(
    ("scheme", "adam", "sgd", "branch", "epsilon"),
    [  # hidden matrices at (m_N, m_L) = (4, 8): Dey et al. 2025, table 1; Bordelon et al. 2023
        (Mup(**BASE), 1 / 4, 1.0, 1.0, 1 / 4),
        (DepthMup(**BASE), 1 / 4 / math.sqrt(8), 1.0, 1 / math.sqrt(8), 1 / 4 / math.sqrt(8)),
        (CompleteP(**BASE), 1 / 4, 8.0, 1 / 8, 1 / 4 / 8),
    ],
)
def test_hidden_matrices_are_scaled_as_the_papers_say(
    scheme: Parametrization, adam: float, sgd: float, branch: float, epsilon: float
) -> None:
    hidden, out = scheme.scaling("hidden", FAR), scheme.scaling("into_residual", FAR)
    assert hidden.initial_scale == pytest.approx(1 / 16)
    assert (hidden.rate_factor, out.rate_factor) == pytest.approx((adam, adam))
    assert (hidden.decay_factor, out.decay_factor) == pytest.approx((4, 4))
    assert (hidden.multiplier, out.multiplier) == pytest.approx((1, branch))
    assert hidden.epsilon_factor == pytest.approx(epsilon)
    assert scheme.scaling("hidden", FAR, "sgd").rate_factor == pytest.approx(sgd)
    readout, embedding = scheme.scaling("readout", FAR), scheme.scaling("embedding", FAR)
    assert (readout.multiplier, readout.rate_factor, embedding.rate_factor) == pytest.approx((1 / 4, 1, 1))
    assert scheme.scaling("embedding", FAR, "sgd").rate_factor == pytest.approx(4)
    assert scheme.scaling("readout", FAR, "sgd").rate_factor == pytest.approx(4)
    assert scheme.scaling("norm", FAR).rate_factor == pytest.approx(4 * adam)
    assert scheme.scaling("final_norm", FAR).rate_factor == 1
    assert scheme.attention_scale(32) == pytest.approx(32**-0.5)
    assert scheme.attention_scale(128) == pytest.approx(32**0.5 / 128)


def test_standard_and_ntk_are_what_they_are_called() -> None:
    standard, ntk = Standard().scaling("into_residual", FAR), Ntk(**BASE).scaling("into_residual", FAR)
    assert standard.initial_scale == pytest.approx(1 / math.sqrt(2 * 16) / 16)
    assert (standard.rate_factor, standard.multiplier, standard.epsilon_factor) == (1, 1, 1)
    assert ntk.initial_scale == 1 and ntk.multiplier == pytest.approx(standard.initial_scale)
    assert Ntk(**BASE).scaling("hidden", FAR, "sgd").rate_factor == 64  # in unit weights alike at every width


@pytest.mark.parametrize("table", [STANDARD, NTK, MUP, DEPTH_MUP, COMPLETEP])
def test_decay_and_rate_make_up_for_each_other_in_width(table: Any) -> None:
    names = {"inputs": 64.0, "wider": 1.0, "deeper": 1.0, "depth": 2.0, "base_depth": 2.0}
    for row in table.values():
        for learning in (row.adam, row.sgd, row.muon):
            assert isinstance(learning, Learning)
            kept = [
                value(learning.rate, wide) * value(learning.decay, wide)
                for wide in (names, {**names, "inputs": 512.0, "wider": 8.0})
            ]
            assert kept[0] == pytest.approx(kept[1])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lion", "muon"])
@pytest.mark.parametrize("scheme", SCALED)
@pytest.mark.parametrize("tied", [False, True])
def test_at_the_base_every_parametrization_trains_as_standard_does(scheme: str, optimizer: str, tied: bool) -> None:
    losses = []
    for chosen in ({"parametrization": "standard"}, {"parametrization": scheme, "base_width": 32, "base_depth": 2}):
        trained = of_family(run(optimizer=optimizer, tied=tied, gradient_clip=None, **chosen))
        seen = []
        for _ in range(5):
            with torch.no_grad():
                seen.append(float(trained.look()))  # type: ignore[arg-type]
            trained.step()
        losses.append(seen)
    digits = 1e-3 if optimizer == "muon" else 1e-5  # muon multiplies matrices of bfloat16
    assert losses[1] == pytest.approx(losses[0], rel=digits)
    assert losses[0][-1] < losses[0][0]


def test_epsilon_and_decay_reach_the_optimizer() -> None:
    wide = run(width=128, parametrization="completep", base_width=32, base_depth=1)
    model = wide.build(Cpu(), torch.Generator().manual_seed(0))
    groups = weight_groups(model, wide.parametrization.treatments(wide.roles(model), "adam"))
    built = AdamW(weight_decay=0.1).build(groups)
    shown = {(group["rate_factor"], round(group["weight_decay"], 9), group["eps"]) for group in built.param_groups}
    assert shown == {
        (1.0, 0.1, EPSILON / 4),
        (0.25, 0.4, EPSILON / 8),
        (1.0, 0.0, EPSILON / 4),
        (1.0, 0.0, EPSILON / 8),
    }
    assert sum(weight.numel() for group in groups for weight in group.weights) == sum(
        weight.numel() for weight in model.parameters()
    )


def test_a_base_is_a_part_of_the_runs_identity_and_has_to_be_a_size() -> None:
    assert run(parametrization="mup").record().run_id != run(parametrization="mup", base_width=32).record().run_id
    assert run(parametrization="mup").config()["base_width"] == 64
    with pytest.raises(ConfigError, match="'base_width' is 0; it should be at least 1"):
        run(parametrization="mup", base_width=0)
    with pytest.raises(ConfigError, match="'base_width' is not a setting of the parametrization standard"):
        run(base_width=64)


def checked(sizes: tuple[int, ...], axis: str, **changes: Any) -> dict[str, LayerCheck]:
    """Return the exponents of small transformers, two seeds of each size."""
    if changes["parametrization"] != "standard":
        changes = {**changes, f"base_{axis}": sizes[0]}
    measured = [
        measure(of_family(run(seed=seed, **{"sequence_length": 32, axis: size, **changes})), size, steps=4,
                by_kind=axis == "depth")
        for seed in (0, 1)
        for size in sizes
    ]  # fmt: skip
    return {each.layer: each for each in check(measured, may_shrink=float(axis == "depth"))}


RATES: dict[str, dict[str, Any]] = {
    "adamw": {"learning_rate": 0.01},
    "sgd": {"learning_rate": 0.3, "gradient_clip": None},
}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", RATES)
def test_activations_and_updates_are_flat_over_width_under_mup_and_not_under_standard(optimizer: str) -> None:
    widths, recipe = (32, 64, 128, 256), {"optimizer": optimizer, **RATES[optimizer]}
    mup = checked(widths, "width", parametrization="mup", **recipe)
    standard = checked(widths, "width", parametrization="standard", **recipe)
    assert {each.verdict for each in mup.values()} == {"pass"}
    assert max(abs(each.change_slope) for each in mup.values()) < 0.2
    assert max(each.change_slope for each in standard.values()) > 0.4
    assert standard["blocks.1"].change_slope > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", RATES)
def test_under_ntk_outputs_move_alike_and_features_ever_less(optimizer: str) -> None:
    found = checked((32, 64, 128, 256), "width", parametrization="ntk", optimizer=optimizer, **RATES[optimizer])
    assert found["head"].change_slope == pytest.approx(0, abs=0.15)
    assert found["embedding"].change_slope == pytest.approx(-0.5, abs=0.15)
    assert found["blocks.1"].change_slope < -0.2


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["depth_mup", "completep"])
def test_the_residual_stream_is_flat_over_depth_where_layers_shrink(scheme: str) -> None:
    found = checked((2, 4, 8, 16), "depth", parametrization=scheme, **RATES["adamw"])
    assert "grows" not in {each.verdict for each in found.values()}
    assert abs(found["blocks.*"].change_slope) < 0.3
    standard = checked((2, 4, 8, 16), "depth", parametrization="mup", **RATES["adamw"])
    assert standard["blocks.*"].verdict == "grows"


def test_planted_powers_are_found_and_judged() -> None:
    sizes = (16, 64, 256)

    def planted(scale: float, change: float, **options: float) -> LayerCheck:
        values = [
            Coordinates(
                size, {"a": np.array([1.0, float(size) ** scale])}, {"a": np.array([0.0, float(size) ** change])}
            )
            for size in sizes
        ]
        [found] = check(values, **options)
        return found

    found = planted(-0.5, 0.1)
    assert (found.scale_slope, found.change_slope, found.verdict) == pytest.approx((-0.5, 0.1, "pass"))
    assert planted(0.5, 0.0).verdict == "grows"
    assert planted(0.0, 0.5).verdict == "grows"
    assert planted(0.0, -0.5).verdict == "shrinks"
    assert planted(0.0, -1.0, may_shrink=1.0).verdict == "pass"
    assert planted(0.0, -1.5, may_shrink=1.0).verdict == "shrinks"


def test_networks_of_one_size_cannot_be_compared() -> None:
    one = Coordinates(8, {"a": np.ones(2)}, {"a": np.ones(2)})
    other = Coordinates(16, {"b": np.ones(2)}, {"b": np.ones(2)})
    with pytest.raises(UsageError, match="at least two sizes"):
        check([one, one])
    with pytest.raises(UsageError, match="layer 'a' is not in networks of every size"):
        check([one, other])


def test_a_network_of_the_users_is_trained_by_its_own_optimizer_or_by_adam() -> None:
    layer = torch.nn.Linear(3, 5)
    network = torch.nn.Sequential(layer)
    still = torch.optim.SGD(network.parameters(), lr=0.0)
    assert measure(of_function((network, still), learning_rate=0.1, seed=0), 5, steps=2).change["0"].tolist() == [
        0,
        0,
        0,
    ]
    assert measure(of_function(network, learning_rate=0.1, seed=0), 5, steps=2).change["0"][-1] > 0.05
    with pytest.raises(UsageError, match="the function has returned int"):
        of_function(3, learning_rate=0.1, seed=0)
    with pytest.raises(UsageError, match="what the network takes in is not known"):
        of_function(torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1)), learning_rate=0.1, seed=0)
    with pytest.raises(UsageError, match="the network has no weights"):
        of_function(torch.nn.Sequential(torch.nn.ReLU()), learning_rate=0.1, seed=0)


def test_first_weights_of_standard_are_drawn_as_they_always_were() -> None:
    family = run(seed=0)
    model = family.build(Cpu(), torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    wide, into = 1.0 / math.sqrt(32), 1 / math.sqrt(2 * 2)
    scales = {"embedding": 0.02}
    for block in (0, 1):
        scales |= {
            f"blocks.{block}.queries_keys_values": wide,
            f"blocks.{block}.attention_out": into / math.sqrt(32),
            f"blocks.{block}.feed_forward_in": wide,
            f"blocks.{block}.feed_forward_out": into / math.sqrt(128),
        }
    for name, scale in {**scales, "head": 0.02}.items():
        weight = model.get_submodule(name).weight
        drawn = torch.nn.init.normal_(torch.empty(weight.shape), std=scale, generator=generator)  # type: ignore[arg-type]
        assert torch.equal(weight, drawn), name  # type: ignore[arg-type]
    assert all(bool((each == 1).all()) for each in model.parameters() if each.ndim == 1)


def test_decay_by_sgd_shrinks_matrices_alike_at_every_width_and_depth() -> None:
    names = {"inputs": 64.0, "wider": 4.0, "deeper": 32.0, "depth": 64.0, "base_depth": 2.0}
    for table in (NTK, MUP, DEPTH_MUP, COMPLETEP):
        for role, row in table.items():
            if row.initial is not None:  # gains and biases do not decay
                assert value(row.sgd.rate, names) * value(row.sgd.decay, names) == pytest.approx(1.0), role
