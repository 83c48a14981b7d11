"""Each published law gives the numbers that its paper states, and says where it comes from."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from isoflop.lakehouse.errors import UnknownName
from isoflop.queries.laws.atlas import ATLAS, PublishedLaw, find_published_law


def entry(name: str) -> PublishedLaw:
    return find_published_law(ATLAS, name)


def value(name: str, *inputs: float) -> float:
    """What a published law says of one place."""
    found = entry(name)
    return float(found.law.predict(found.values, np.array([inputs], dtype=np.float64))[0])


def best(name: str, flops: float) -> tuple[float, float]:
    """The params and tokens with the lowest loss of a budget, by a law of the form of Hoffmann et al."""
    c = entry(name).coefficients
    alpha, beta = c["alpha"], c["beta"]
    scale = (alpha * c["A"] / (beta * c["B"])) ** (1 / (alpha + beta))
    params = scale * (flops / 6) ** (beta / (alpha + beta))
    return params, flops / 6 / params


@pytest.mark.parametrize("law", ATLAS, ids=lambda law: law.name)
def test_every_law_has_its_coefficients_inside_their_domains_and_a_source(law: PublishedLaw) -> None:
    assert set(law.coefficients) == {coefficient.name for coefficient in law.law.coefficients}
    assert set(law.std_errors) <= set(law.coefficients)
    for coefficient, number in zip(law.law.coefficients, law.values.tolist(), strict=True):
        assert coefficient.lower <= number <= coefficient.upper
    assert re.search(r"\(arXiv:\d{4}\.\d{5}\)", law.source) and law.about
    assert re.fullmatch(r"[a-z0-9_]+_(19|20)\d\d[a-z0-9_]*", law.name)
    assert law.law.target and law.law.unit


def test_names_are_different_and_found_in_any_case() -> None:
    assert len({law.name for law in ATLAS}) == len(ATLAS)
    assert entry("Besiroglu_2024").name == "besiroglu_2024"
    with pytest.raises(UnknownName, match="did you mean 'hoffmann_2022'"):
        entry("hofmann_2022")


@pytest.mark.parametrize(
    ("called", "meant"),
    [
        ("chinchilla", "hoffmann_2022"), ("Chinchilla-Epoch", "besiroglu_2024"), ("kaplan", "kaplan_2020"),
        ("llama3", "llama_2024_tokens"), ("gemstones", "mcleish_2025"), ("hoffmann", "hoffmann_2022"),
    ],
)  # fmt: skip
def test_what_people_call_a_law_is_guessed(called: str, meant: str) -> None:
    with pytest.raises(UnknownName, match=rf"did you mean published:{meant}\?$"):
        entry(called)


def test_an_author_of_several_laws_names_them_all() -> None:
    with pytest.raises(UnknownName) as raised:
        entry("clark")
    assert all(f"published:clark_2022_{routing}" in str(raised.value) for routing in ("s_base", "rl_r", "hash"))
    for law in ATLAS:
        assert all(
            re.fullmatch("[a-z0-9]+", each) and each not in {other.name for other in ATLAS} for each in law.known_as
        )
        assert not law.unrounded or entry(law.unrounded).form == law.form


def test_hoffmann_foresees_the_loss_of_chinchilla() -> None:
    assert value("hoffmann_2022", 70e9, 1.4e12) == pytest.approx(1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28)
    assert value("hoffmann_2022", 70e9, 1.4e12) == pytest.approx(1.9366, abs=5e-5)
    c = entry("hoffmann_2022_unrounded").coefficients  # equation 10 rounds them
    assert [round(c["E"], 2), round(c["A"], 1), round(c["B"], 1)] == [1.69, 406.4, 410.7]
    assert [round(c["alpha"], 2), round(c["beta"], 2)] == [0.34, 0.28]


def test_hoffmann_has_the_exponents_and_the_size_that_approach_3_states() -> None:
    c = entry("hoffmann_2022_unrounded").coefficients
    assert c["beta"] / (c["alpha"] + c["beta"]) == pytest.approx(0.46, abs=0.005)  # table 2
    params, _ = best("hoffmann_2022_unrounded", 5.76e23)
    assert params == pytest.approx(40e9, rel=0.02)  # of the budget of Gopher, figure 4
    params, _ = best("hoffmann_2022_unrounded", 1.71e24)
    assert params == pytest.approx(67e9, rel=0.02)  # table A3


def test_besiroglu_finds_twenty_tokens_a_parameter_and_equal_exponents() -> None:
    c = entry("besiroglu_2024").coefficients
    assert c["beta"] / (c["alpha"] + c["beta"]) == pytest.approx(0.5126, abs=5e-5)
    params, tokens = best("besiroglu_2024", 5.76e23)
    assert params == pytest.approx(70e9, rel=0.05) and tokens / params == pytest.approx(20, rel=0.1)
    assert entry("besiroglu_2024").std_errors["A"] == 124.58


def test_kaplan_needs_tokens_as_the_paper_says() -> None:
    # Its law for infinite data is a power of params alone, and D ~ 5e3 N^0.74 keeps overfitting below two per cent.
    assert value("kaplan_2020", 1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-6)
    assert value("kaplan_2020", 1e9, 5e3 * 1e9**0.74) / value("kaplan_2020", 1e9, 1e30) < 1.02 + 0.005
    assert value("kaplan_2020_params", 8.8e13) == pytest.approx(1.0)
    assert value("kaplan_2020_tokens", 5.4e13) == pytest.approx(1.0)


def test_muennighoff_repeats_data_until_it_is_worth_little() -> None:
    c = entry("muennighoff_2023").coefficients
    assert [round(c["A"]), round(c["B"]), round(c["E"], 2)] == [521, 1488, 1.87]  # equation 17
    scale = (c["A"] / c["B"]) ** (1 / c["alpha"])
    assert scale == pytest.approx(0.051, abs=5e-4)  # params that are best for unique tokens, equation 17
    params, unique = 1e8, 1e10
    repeated = value("muennighoff_2023", params, unique, 1 + c["R_D"])
    fresh = unique * (1 + c["R_D"] * (1 - 1 / math.e))  # after R_D repetitions they are worth 1 - 1/e of fresh ones
    assert repeated == pytest.approx(c["E"] + c["A"] / params ** c["alpha"] + c["B"] / fresh ** c["beta"])


def test_gadre_predicts_its_two_large_runs() -> None:
    assert value("gadre_2024_redpajama", 1439795200, 640) == pytest.approx(2.5198, abs=1e-3)
    assert value("gadre_2024_redpajama", 6889410560, 20) == pytest.approx(2.4427, abs=1e-3)
    measured = {"1b": 2.502053562117363, "7b": 2.424993099368689}  # published errors: 0.71 and 0.73 per cent
    assert value("gadre_2024_redpajama", 1439795200, 640) / measured["1b"] - 1 == pytest.approx(0.0071, abs=2e-4)
    assert value("gadre_2024_redpajama", 6889410560, 20) / measured["7b"] - 1 == pytest.approx(0.0073, abs=2e-4)


def test_kumar_counts_effective_params() -> None:
    c = entry("kumar_2024").coefficients
    factors = [1 - math.exp(-bits / c["gamma_w"]) for bits in (2, 4, 8, 16)]
    assert factors == pytest.approx([0.527, 0.776, 0.950, 0.997], abs=1e-3)
    many = 1e3  # bits, as good as infinitely many
    few = value("kumar_2024", 1e8, 1e11, 4, many, many)
    assert few == pytest.approx(value("kumar_2024", factors[1] * 1e8, 1e11, many, many, many))
    assert few - value("kumar_2024", 1e8, 1e11, many, many, many) == pytest.approx(0.061, abs=1e-3)


def test_optimal_settings_are_those_of_the_papers() -> None:
    assert value("step_law_2025_learning_rate", 1e9, 1e11) == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307)
    assert value("step_law_2025_batch", 1e11) == pytest.approx(1.108e6, rel=1e-3)
    assert value("deepseek_2024_learning_rate", 1e20) == pytest.approx(0.3118 * 10**-2.5)
    assert value("deepseek_2024_batch", 1e20) == pytest.approx(1.017e6, rel=1e-3)
    for flops in (1e17, 1e20, 1e23):  # the two share the budget
        product = value("deepseek_2024_model", flops) * value("deepseek_2024_tokens", flops)
        assert product == pytest.approx(flops, rel=1e-3)


def test_llama_says_what_its_rounded_coefficients_leave() -> None:
    assert value("llama_2024_tokens", 3.8e25) == pytest.approx(1.05e13, rel=5e-3)
    assert "1.655e13" in entry("llama_2024_tokens").about


@pytest.mark.parametrize(("place", "loss"), [((64e6, 9134, 135200), 2.31779), ((1.024e9, 2695, 27794), 1.97264)])
def test_the_noisy_quadratic_predicts_as_its_published_code(place: tuple[float, float, float], loss: float) -> None:
    assert value("li_2026", *place) == pytest.approx(loss, abs=1e-4)


def test_mcleish_lies_above_its_floor() -> None:
    c = entry("mcleish_2025").coefficients
    assert value("mcleish_2025", 1e30, 1e30) == pytest.approx(c["E"], abs=1e-6)
    params, tokens = best("mcleish_2025", 1e21)
    assert value("mcleish_2025", params, tokens) < min(
        value("mcleish_2025", params * 1.5, tokens / 1.5), value("mcleish_2025", params / 1.5, tokens * 1.5)
    )


def test_routing_stops_to_help_where_the_paper_says() -> None:
    for routing, largest in (("s_base", 937e9), ("rl_r", 85e9), ("hash", 83e9)):
        c = entry(f"clark_2022_{routing}").coefficients
        ends = [-(c["b"] + miss) / (c["c"] + miss) for miss in (-0.0005, 0.0005)]  # as far as they are rounded
        assert min(ends) <= np.log10(largest) <= max(ends)
        dense, routed = (value(f"clark_2022_{routing}", largest / 30, experts) for experts in (1.0, 512.0))
        assert routed < dense


def test_krajewski_and_kaplan_give_losses_and_batches_of_their_range() -> None:
    assert value("krajewski_2024", 1e9, 1e10, 1.0) == pytest.approx(0.47 + 20.2 / 1e9**0.115 + 30.8 / 1e10**0.147)
    assert value("krajewski_2024", 3e9, 5e10, 16.0) < value("krajewski_2024", 3e9, 5e10, 1.0)
    assert value("kaplan_2020_critical_batch", 3.0) == pytest.approx(2e8 / 3 ** (1 / 0.21))
    assert value("hernandez_2021", 3e5, 4e7) == pytest.approx(1.9e4 * 3e5**0.18 * 4e7**0.38)
