"""Units, factors, logarithms and ratios in headings are taken for what they say, or offered right, or not at all."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isoflop.cli.main import app
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path

PARAMS, TOKENS, LOSS = 125e6, 2.5e9, 3.25
FLOPS = 6 * PARAMS * TOKENS
PF_DAY = 8.64e19  # FLOP


def taken(path: Path, columns: dict[str, float]) -> dict[str, Any]:
    path.write_text(",".join(f'"{name}"' for name in columns) + "\n" + ",".join(map(str, columns.values())) + "\n")
    with Lakehouse(path.with_suffix(".duckdb")) as lake:
        import_path(lake, path)
        (found,) = lake.query("SELECT params, tokens, flops, loss FROM runs").to_pylist()
    return dict(found)


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        ({"Mparams": 125}, {"Btokens": 2.5}),
        ({"params [10^6]": 125}, {"tokens (10**9)": 2.5}),
        ({"params (1e6)": 125}, {"tokens (×10⁹)": 2.5}),
        ({"params, M": 125}, {"tokens, B": 2.5}),
        ({"N (m)": 125}, {"D (b)": 2.5}),
        ({"params in millions": 125}, {"tokens (in billions)": 2.5}),
        ({"N (params)": PARAMS}, {"D (B tokens)": 2.5}),
        ({"params": PARAMS}, {"tokens per param": 20}),
        ({"N": PARAMS}, {"D/N": 20}),
        ({"params_M": 125}, {"tokens_per_parameter": 20}),
        ({"params": PARAMS}, {"run.tokens/params": 2.5e9, "tokens": 2.5e9}),
    ],
)
def test_counts_in_other_units_and_ratios_are_taken(
    tmp_path: Path, params: dict[str, float], tokens: dict[str, float]
) -> None:
    found = taken(tmp_path / "runs.csv", {**params, **tokens, "loss": LOSS})
    assert (found["params"], found["tokens"], found["flops"]) == pytest.approx((PARAMS, TOKENS, FLOPS))


@pytest.mark.parametrize(
    ("heading", "unit"),
    [
        ("FLOPs (1e18)", 1e18),
        ("EFLOPs", 1e18),
        ("compute (ZFLOPs)", 1e21),
        ("train_zflops", 1e21),
        ("PF-days", PF_DAY),
        ("training compute (PFLOP/s-days)", PF_DAY),
        ("compute_pf_days", PF_DAY),
        ("petaflop/s-days", PF_DAY),
    ],
)
def test_flops_in_other_units_are_taken(tmp_path: Path, heading: str, unit: float) -> None:
    told = 1.5 * FLOPS / unit  # which differs from 6 * params * tokens
    found = taken(tmp_path / "runs.csv", {"params": PARAMS, "tokens": TOKENS, heading: told, "loss": LOSS})
    assert found["flops"] == pytest.approx(1.5 * FLOPS)


@pytest.mark.parametrize("heading", ["TFLOPs", "PFLOPS", "compute (EFLOP/s)", "GPU-days", "flops (MB)"])
def test_rates_and_other_units_are_no_flops(tmp_path: Path, heading: str) -> None:
    found = taken(tmp_path / "runs.csv", {"params": PARAMS, "tokens": TOKENS, heading: 250, "loss": LOSS})
    assert found["flops"] == FLOPS


@pytest.mark.parametrize(
    ("heading", "told"),
    [
        ("Loss (nats)", LOSS),
        ("loss_nats", LOSS),
        ("train loss [nats/token]", LOSS),
        ("Loss (bits)", LOSS / math.log(2)),
        ("final_loss_bits_per_token", LOSS / math.log(2)),
    ],
)
def test_a_loss_with_its_unit_is_one_in_nats(tmp_path: Path, heading: str, told: float) -> None:
    found = taken(tmp_path / "runs.csv", {"params": PARAMS, "tokens": TOKENS, heading: told})
    assert found["loss"] == pytest.approx(LOSS)


@pytest.mark.parametrize(
    ("columns", "ours"),
    [
        ({"log10 params": math.log10(PARAMS), "tokens": TOKENS, "loss": LOSS}, "params"),
        ({"ln(params)": math.log(PARAMS), "tokens": TOKENS, "loss": LOSS}, "params"),
        ({"params": PARAMS, "log2_tokens": math.log2(TOKENS), "loss": LOSS}, "tokens"),
        ({"params": PARAMS, "tokens": TOKENS, "log loss": math.log(LOSS)}, "loss"),
        ({"weights_M": 125, "tokens": TOKENS, "loss": LOSS}, "params"),
        ({"job": 1, "size": PARAMS, "batch_size": 64, "tokens": TOKENS, "loss": LOSS}, "params"),
        ({"job": 1, "model size, M": 125, "tpp": 20, "loss": LOSS}, "tokens"),
        ({"count of weights (M)": 125, "tpp": 20, "loss score": LOSS}, "tokens"),
    ],
)
def test_what_is_printed_to_type_has_the_values_right(tmp_path: Path, columns: dict[str, float], ours: str) -> None:
    path, lake = tmp_path / "runs.csv", tmp_path / "lake.duckdb"
    path.write_text(",".join(f'"{name}"' for name in columns) + "\n" + ",".join(map(str, columns.values())) + "\n")
    done = CliRunner().invoke(app, ["import", str(path), "--lake", str(lake)])
    printed = re.search(r"isoflop import (.*)", f"{done.output}\n{done.exception}")
    if printed is not None:
        done = CliRunner().invoke(app, ["import", *shlex.split(printed[1]), "--lake", str(lake)])
    assert done.exit_code == 0, done.exception
    with Lakehouse(lake) as opened:
        (found,) = opened.query("SELECT params, tokens, loss FROM runs").to_pylist()
    expected = {"params": PARAMS, "tokens": TOKENS, "loss": LOSS}
    assert found[ours] == pytest.approx(expected[ours])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job,size,tokens,lr,loss\na,7M,1e9,1e-3,3.1\nb,70M,1e9,1e-3,2.9\n", "--map params=size"),
        ("model size (MB),tokens,loss\n28,1e9,3.1\n", "'model size (MB)' is in bytes, which are no params"),
        ("model size (MB),tokens seen so far,x\n28,1e9,3.1\n", "'model size (MB)' is in bytes, which are no params"),
    ],
)
def test_a_size_that_is_not_known_as_params_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "runs.csv").write_text(text)
    done = CliRunner().invoke(app, ["import", str(tmp_path / "runs.csv"), "--lake", str(tmp_path / "lake.duckdb")])
    assert said in f"{done.output}\n{getattr(done.exception, 'hint', '')}"


@pytest.mark.parametrize("column", ["batch_size", "log params", "model", "vocab_size"])
def test_what_is_no_size_of_a_model_is_not_offered_as_params(tmp_path: Path, column: str) -> None:
    (tmp_path / "runs.csv").write_text(f"{column},tokens,loss\nsmall,1e9,3.1\nlarge,1e9,2.9\n")
    (tmp_path / "numbers.csv").write_text(f"{column},tokens,loss\n64,1e9,3.1\n128,1e9,2.9\n")
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        for name in ("runs.csv", "numbers.csv"):
            assert not [note for note in import_path(lake, tmp_path / name).notes if "params=" in note]
