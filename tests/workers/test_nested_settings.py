"""Settings inside a component: shown where they differ, and one error with its line where they are no setting."""

from __future__ import annotations

import pytest

from isoflop.cli.dry_run import describe_plans
from isoflop.lakehouse.errors import FileError
from isoflop.workers.sweep import Sweep, checked_sweeps
from isoflop.workers.sweep_file import parse_documents

SHAPE = "dimension: 12, width: 8, depth: 2, spectrum_exponent: 0.5, target_exponent: 0.3, steps: 40"


def sweep_of(setting: str, kind: str = "grid") -> Sweep:
    """Return the sweep of one setting, on the third line of its file."""
    head = "grid: {" if kind == "grid" else "points: [{"
    tail = "}" if kind == "grid" else "}]"
    text = f"name: x\nfamily: deep_linear\n{head}{setting}, {SHAPE}{tail}\n"
    (sweep,) = checked_sweeps(parse_documents(text, "sweep.yaml"))
    return sweep


@pytest.mark.parametrize(
    ("setting", "column", "values"),
    [
        (
            "optimizer: [{kind: gradient_descent, learning_rate: 0.1}, {kind: gradient_descent, learning_rate: 0.2}]",
            "learning_rate", [0.1, 0.2],
        ),
        ("optimizer: {learning_rate: [0.1, 0.2]}", "learning_rate", [0.1, 0.2]),
        ("optimizer: [gradient_descent, {kind: gradient_flow}]", "optimizer", ["gradient_descent", "gradient_flow"]),
    ],
)  # fmt: skip
def test_a_dry_run_shows_what_differs_inside(setting: str, column: str, values: list[object], tmp_path: object) -> None:
    answer = describe_plans([sweep_of(setting)], f"{tmp_path}/none.duckdb")
    assert [row[column] for row in answer.records()] == values


@pytest.mark.parametrize("kind", ["grid", "points"])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimizer: {kind: {kind: gradient_flow}}", "'kind' of optimizer is {'kind': 'gradient_flow'}; it should be"),
        (
            "optimizer: {learning_rate: {kind: 1}}",
            "'learning_rate' of optimizer is {'kind': 1}; it should be one value",
        ),
        ("parametrization: {kind: ntk}", "'parametrization' is {'kind': 'ntk'}; it should be 'mean_field' or 'ntk'"),
    ],
)
def test_a_mapping_in_the_place_of_a_setting_is_refused(kind: str, setting: str, said: str) -> None:
    with pytest.raises(FileError) as refused:
        sweep_of(setting, kind).expand()
    assert refused.value.message.startswith(f"sweep.yaml:3: {said}")


def test_merge_keys_are_refused_by_name() -> None:
    text = "name: x\nfamily: deep_linear\ngrid:\n  <<: {width: 8}\n"
    with pytest.raises(FileError, match=r"sweep.yaml:4: the merge key '<<' is not of YAML 1.2") as refused:
        parse_documents(text, "sweep.yaml")
    assert "an alias" in str(refused.value.hint)
