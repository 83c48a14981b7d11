from __future__ import annotations

import pytest

from isoflop.cli.plot.ticks import ticks, write_number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (2.5, "2.5"), (999.6, "1k"), (1e3, "1k"), (1.5e6, "1.5M"), (999_999_999, "1B"),
     (7e9, "7B"), (1e12, "1T"), (1e15, "1e15"), (3.2e21, "3.2e21"), (1e-4, "1e-4"), (-2e6, "-2M"),
     (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert write_number(value) == text


def test_powers_are_written_from_a_hundred_thousand_on() -> None:
    assert [write_number(value, "power") for value in (1e3, 1e5, 3e9)] == ["1000", "1e5", "3e9"]


def test_decades_are_thinned_to_the_room_there_is() -> None:
    assert [tick.label for tick in ticks(1e15, 1e26, is_log=True, most=6)] == [
        "1e15", "1e17", "1e19", "1e21", "1e23", "1e25",
    ]  # fmt: skip


def test_a_short_logarithmic_axis_gets_simple_multiples() -> None:
    assert [tick.label for tick in ticks(2e6, 2e8, is_log=True, most=8)] == [
        "2M",
        "5M",
        "10M",
        "20M",
        "50M",
        "100M",
        "200M",
    ]


def test_less_than_a_decade_gets_even_steps() -> None:
    assert [tick.label for tick in ticks(2.1, 2.9, is_log=True, most=5)] == ["2.2", "2.4", "2.6", "2.8"]


def test_close_values_keep_enough_digits_to_differ() -> None:
    labels = [tick.label for tick in ticks(2.0001, 2.0009, is_log=False, most=5)]
    assert len(set(labels)) == len(labels) >= 4


def test_a_linear_axis_through_zero_marks_zero() -> None:
    assert [tick.label for tick in ticks(-0.03, 0.03, is_log=False, most=4)] == ["-0.02", "0", "0.02"]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (2e-4, 6e-3, ["0.0002", "0.0005", "0.001", "0.002", "0.005"]),
        (2e-5, 2e-3, ["3e-5", "1e-4", "3e-4", "1e-3"]),
        (1e-8, 2.0, ["1e-8", "1e-6", "1e-4", "1e-2", "1"]),
        (2e-5, 2e-4, ["2e-5", "5e-5", "1e-4", "2e-4"]),
    ],
)
def test_small_numbers_of_an_axis_are_all_written_in_one_way(low: float, high: float, labels: list[str]) -> None:
    marked = ticks(low, high, is_log=True, most=5)
    assert [tick.label for tick in marked] == labels
    assert all(float(tick.label) == pytest.approx(tick.value) for tick in marked)


@pytest.mark.parametrize("span", [(1e-12, 1e-11), (1.0, 1e30), (5.0, 5.0001), (0.9, 1.1)])
@pytest.mark.parametrize("is_log", [True, False])
def test_marks_lie_inside_the_axis_and_never_exceed_the_room(span: tuple[float, float], is_log: bool) -> None:
    marked = ticks(*span, is_log=is_log, most=7)
    assert 1 <= len(marked) <= 8
    slack = 1e-8 * (span[1] - span[0])
    assert all(span[0] - slack <= tick.value <= span[1] + slack for tick in marked)
