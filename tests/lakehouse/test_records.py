"""The identity of a run."""

from __future__ import annotations

import pytest

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.runs.records import RunRecord, run_id_of


def test_the_identity_depends_on_family_config_and_seed_only() -> None:
    first = RunRecord(family="f", config={"a": 1, "b": 2.5}, seed=3, name="x", params=1.0)
    again = RunRecord(family="f", config={"b": 2.5, "a": 1}, seed=3, name="y", tokens=2.0)
    assert first.run_id == again.run_id
    assert len({run_id_of("f", {"a": 1}, 0), run_id_of("f", {"a": 1}, 1), run_id_of("g", {"a": 1}, 0)}) == 3


def test_whole_floats_and_integers_are_one_number() -> None:
    assert run_id_of("f", {"tokens": 2e9}, 0) == run_id_of("f", {"tokens": 2_000_000_000}, 0)


def test_a_missing_value_is_as_if_the_key_were_absent() -> None:
    assert run_id_of("f", {"a": 1, "b": None}, 0) == run_id_of("f", {"a": 1}, 0)


def test_the_identity_of_a_known_config_never_changes() -> None:
    assert (
        run_id_of("transformer", {"width": 64, "learning_rate": 1e-3, "corpus": {"kind": "bytes"}}, 7) == "yqq6l2npgmoc"
    )


def test_a_value_that_cannot_be_stored_is_named() -> None:
    with pytest.raises(RecordError, match="type object"):
        run_id_of("f", {"a": object()}, 0)
