"""Reading YAML with line numbers."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from isoflop.lakehouse.errors import FileError, UsageError
from isoflop.workers.sweep import load_sweeps
from isoflop.workers.sweep_file import dump, override, parse_documents, read_documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("3e9", 3e9),
        ("1e+19", 1e19),
        (".5", 0.5),
        ("-2", -2),
        ("0x10", 16),
        ("0o17", 15),
        ("-.inf", -math.inf),
        ("true", True),
        ("~", None),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("1:30", "1:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("20 min", "20 min"),
        ("'1e-4'", "1e-4"),
        ("width / 32", "width / 32"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    [document] = parse_documents(f"key: {text}")
    assert document.value["key"] == value
    assert type(document.value["key"]) is type(value)


def test_every_value_knows_its_line() -> None:
    [document] = parse_documents("name: a\ngrid:\n  width:\n    - 1\n    - 2\n", "s.yaml")
    assert document.lines["grid", "width"] == 3
    assert document.lines["grid", "width", 1] == 5
    assert str(document.error(("grid", "width", 1), "too narrow")) == "s.yaml:5: too narrow"


def test_an_error_without_a_line_of_its_own_points_at_what_is_around_it() -> None:
    [document] = parse_documents("name: a\ngrid: {width: 1}\n", "s.yaml")
    assert str(document.error(("grid", "depth"), "is missing")).startswith("s.yaml:2: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "s.yaml:3: the key 'a' is written twice"),
        ("a: [1,", "s.yaml:1: is not YAML"),
        ("a: b: c", "s.yaml:1: is not YAML"),
        ("\n\na: 'open", "s.yaml:3: is not YAML"),
        ("- 1", "s.yaml:1: is not a mapping"),
        ("just text", "s.yaml:1: is not a mapping"),
        ("", "s.yaml: is empty"),
        ("# only a comment", "s.yaml: is empty"),
        ("a: !!python/object/apply:os.system [ls]", "s.yaml:1: the tag"),
        ("a: !include other.yaml", "s.yaml:1: the tag"),
        ("a: !!timestamp 2026-01-01", "s.yaml:1: the tag '!!timestamp' is not allowed"),
        ("a: !!set {b}", "s.yaml:1: the tag"),
        ("? [a, b]\n: 1", "s.yaml:1: a key must be a name"),
        ("a: &x\n  b: *x", "nested more than"),
    ],
)
def test_what_is_not_data_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(FileError) as caught:
        parse_documents(text, "s.yaml")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"missing\.yaml: cannot be read: No such file"):
        read_documents(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="is not UTF-8"):
        read_documents(tmp_path / "binary.yaml")
    (tmp_path / "control.yaml").write_text("a: \x00")
    with pytest.raises(FileError, match="is not YAML"):
        read_documents(tmp_path / "control.yaml")


def test_documents_are_separate_and_keep_their_text_and_lines() -> None:
    first, second = parse_documents("name: a\n---\nname: b  # the second\n...\n---\n")
    assert (first.text, second.text) == ("name: a\n", "name: b  # the second\n")
    assert second.lines["name",] == 3


def test_overrides_replace_add_and_are_written_into_the_text() -> None:
    [document] = override(
        parse_documents("name: a\ngrid: {width: [1, 2]}\n"), ["grid.width=[64, 1e-4]", "timeout=20 min"]
    )
    assert document.value == {"name": "a", "grid": {"width": [64, 1e-4]}, "timeout": "20 min"}
    [again] = parse_documents(document.text)
    assert again.value == document.value
    assert "--set grid.width=[64, 1e-4]: too large" in str(document.error(("grid", "width", 0), "too large"))


def test_an_override_inside_a_word_keeps_it_as_the_kind() -> None:
    documents = parse_documents("grid: {optimizer: sgd, width: [8, 16]}")
    [document] = override(documents, ["grid.optimizer.learning_rate=0.5"])
    assert document.value["grid"] == {"optimizer": {"kind": "sgd", "learning_rate": 0.5}, "width": [8, 16]}
    with pytest.raises(UsageError, match=r"'grid\.width' is \[8, 16\], which has no 'x' in it"):
        override(documents, ["grid.width.x=1"])


def test_an_override_goes_to_the_documents_that_have_its_key() -> None:
    documents = parse_documents("name: a\ngrid: {width: 1}\n---\nname: b\ngrid: {depth: 1}\n")
    first, second = override(documents, ["grid.width=2"])
    assert first.value["grid"] == {"width": 2}
    assert second.value["grid"] == {"depth": 1}
    with pytest.raises(UsageError, match=r"no sweep of this file has 'grid\.widht'"):
        override(documents, ["grid.widht=2"])


@pytest.mark.parametrize("setting", ["grid.width", "=3", "grid..width=3"])
def test_an_override_that_is_not_key_and_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        override(parse_documents("name: a"), [setting])


def test_dumped_values_are_read_back_as_they_were() -> None:
    value = {"a": "1e-4", "b": 1e-4, "c": ["on", True, None, "null", "12", 12], "d": {"e": "x: y # z"}}
    [document] = parse_documents(dump(value))
    assert document.value == value


BOMB = "a0: &a0 [1, 2]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases repeat more than 100,000 values"),
        ("grid: {width: " + "[" * 3000 + "1" + "]" * 3000 + "}", "nested more than 32 levels deep"),
        ("seeds: " + "9" * 5000, "is too long for a number"),
    ],
    ids=["alias-bomb", "nested", "digits"],
)
def test_a_text_that_would_never_be_read_is_refused_at_once(text: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises(FileError, match=message):
        parse_documents(text)
    assert time.process_time() - began < 10


def test_more_seeds_than_a_grid_has_rows_are_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("name: many\nfamily: random_features\ngrid: {width: 8}\nseeds: 1000000000\n")
    with pytest.raises(FileError, match=r"sweep.yaml:4: .*at most 1,000,000 seeds"):
        load_sweeps(file)


def test_aliases_in_measure_are_read() -> None:
    [document] = parse_documents("widths: &w [8, 16]\ngrid: {width: *w, depth: *w}")
    assert document.value["grid"] == {"width": [8, 16], "depth": [8, 16]}
