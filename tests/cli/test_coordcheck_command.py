"""`isoflop coordcheck`: flags, a sweep file, a function of the user's; what passes, what fails, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoflop.cli.main import app
from isoflop.lakehouse.errors import UsageError

SWEEP = """\
name: widths
family: transformer
corpus: {kind: markov, vocabulary: 32}
grid:
  parametrization: {kind: mup, base_width: 16}
  width: [16, 32, 64]
  depth: 1
  sequence_length: 16
  steps: 2
  learning_rate: [0.003, 0.01]
"""
MODEL = """\
import torch
from torch import nn

def make(width):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

def mup(width):
    model = make(width)
    nn.init.zeros_(model[4].weight)
    inner = [model[2].weight, model[4].weight]
    outer = [model[0].weight, model[0].bias, model[2].bias, model[4].bias]
    return model, torch.optim.Adam([{"params": outer, "lr": 0.01}, {"params": inner, "lr": 0.64 / width}])
"""


def asked(*words: str) -> tuple[int, list[dict[str, object]]]:
    done = CliRunner().invoke(app, ["coordcheck", *words, "--json"], standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.return_value if done.return_value is not None else done.exit_code, json.loads(done.stdout)


def test_a_sweep_file_is_checked_over_its_widths_or_others(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    code, rows = asked(str(file))
    assert {row["layer"] for row in rows} >= {"embedding", "blocks.0", "head"}
    assert code == 0 and {row["verdict"] for row in rows} <= {"pass", "unsure"}
    picture = tmp_path / "check.svg"
    asked(str(file), "--widths", "16,64", "--out", str(picture), "--seeds", "1")
    assert picture.read_text().count("<path") > 10


def test_functions_of_the_users_pass_or_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    words = ("--widths", "64,128,256,512", "--seeds", "3")
    code, rows = asked("my_networks:make", *words)
    assert code == 1
    assert [row["layer"] for row in rows if row["verdict"] == "grows"][:1] == ["2"]
    code, rows = asked("my_networks:mup", *words)
    assert code == 0 and "grows" not in {row["verdict"] for row in rows}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--widths", "3"), "'3' is not at least two sizes"),
        (("--widths", "a,b"), "'a,b' is not at least two sizes"),
        (("--widths", "3,4", "--depths", "1,2"), "--widths and --depths are two checks"),
        (("no_module:make",), "'no_module:make' cannot be loaded: No module named 'no_module'"),
        (("json:make",), "'json' has no function 'make'"),
        (("json:loads", "-p", "mup"), "--parametrization says nothing of 'json:loads'"),
    ],
)
def test_what_cannot_be_checked_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        asked(*words)


def test_a_family_without_a_network_of_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: x\nfamily: plrf\ngrid: {width: [4, 8], spectrum_exponent: 1, target_exponent: 1, steps: 2}\n"
    )
    with pytest.raises(UsageError, match="family 'plrf' trains no torch module of ours"):
        asked(str(file))


@pytest.mark.parametrize(
    ("place", "words", "said"),
    [
        ("make", ("--depths", "2,4"), "is called as make\\(depth=2\\)"),
        ("both", (), "is called as both\\(width=32\\)"),
        ("bad", (), "bad\\(width=32\\) has failed: ValueError: no"),
    ],
)
def test_a_function_that_cannot_be_asked_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, words: tuple[str, ...], said: str
) -> None:
    more = "\ndef both(width, depth): return make(width)\ndef bad(width): raise ValueError('no')\n"
    (tmp_path / "faulty.py").write_text(MODEL + more)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        asked(f"faulty:{place}", *words)


def test_two_sizes_and_one_seed_tell_no_error_and_so_nothing() -> None:
    code, rows = asked("--widths", "32,64", "--seeds", "1", "--steps", "1")
    assert code == 0 and {row["verdict"] for row in rows} == {"unsure"}
