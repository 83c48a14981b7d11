"""Which lake an address names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.address import FileAddress, SharedAddress, parse_address
from isoflop.lakehouse.errors import UsageError


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann@db.example:5432/runs?data=/shared/runs",
        "postgresql:///runs?data=/shared/my runs",
        "postgresql:///runs?data=/shared/runs&host=/run/postgresql",
        "postgresql://[::1]:5432/runs?data=s3://bucket/prefix&sslmode=require",
        "postgres://an%40n@db/run%20s?data=/shared/runs",
    ],
)
def test_an_address_that_is_printed_and_read_again_is_the_same(text: str) -> None:
    address = parse_address(text)
    assert isinstance(address, SharedAddress)
    assert parse_address(str(address)) == address


def test_the_spool_of_a_shared_folder_lies_beside_it_and_that_of_an_object_store_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOFLOP_SPOOL", str(tmp_path))
    assert parse_address("postgresql://db/runs?data=/shared/runs/").path == Path("/shared/runs")
    first = parse_address("postgresql://db/runs?data=s3://bucket/a").path
    assert first.parent == tmp_path
    assert first != parse_address("postgresql://db/runs?data=s3://bucket/b").path


def test_a_password_is_refused_and_not_repeated() -> None:
    for text in (
        "postgresql://ann:hunter2@db/runs?data=/shared/runs",
        "postgresql://db/runs?data=/shared/runs&password=hunter2",
    ):
        with pytest.raises(UsageError, match=r"password[\s\S]*PGPASSWORD") as caught:
            parse_address(text)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://db/runs", "where the data lies"),
        ("postgresql://db?data=/x", "no database"),
        ("postgresql://db/runs?data=relative/path", "relative path"),
        ("postgresql://db/runs?dat=/x", "did you mean 'data'"),
        ("postgresql://db:99999/runs?data=/x", "port"),
        ("mysql://db/runs", "not the path of a lake"),
    ],
)
def test_an_incomplete_address_says_what_is_missing(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_address(text)


def test_a_path_is_a_file(tmp_path: Path) -> None:
    assert parse_address(tmp_path / "a.duckdb") == FileAddress(tmp_path / "a.duckdb")
    with pytest.raises(UsageError, match="is a folder"):
        parse_address(tmp_path)
    with pytest.raises(UsageError, match="a name of 300 bytes"):
        parse_address(tmp_path / ("a" * 300))


def test_a_link_names_the_file_it_leads_to_whether_that_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link, second = tmp_path / "real" / "a.duckdb", tmp_path / "link.duckdb", tmp_path / "second.duckdb"
    link.symlink_to("real/a.duckdb")
    second.symlink_to(link)
    for name in (link, second):
        for _ in range(2):
            address = parse_address(name)
            assert isinstance(address, FileAddress)
            assert (address.path, address.given) == (real, name)
            real.touch()
        real.unlink()
    assert parse_address(link) == parse_address(real)
    circle = tmp_path / "circle.duckdb"
    circle.symlink_to(circle)
    with pytest.raises(UsageError, match="link"):
        parse_address(circle)


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.duckdb")
    for is_read_only in (False, True):
        with pytest.raises(UsageError, match="a pipe, socket or device"):
            Lakehouse(tmp_path / "pipe.duckdb", read_only=is_read_only)
