"""A shared lake whose data lies in an object store: a real S3 server on loopback, and secrets that stay secret."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isoflop.cli.main import main
from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.maintenance.checks import describe
from tests.postgres import Postgres

# What the server's own libraries warn about is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

SECRETS = {"AWS_SECRET_ACCESS_KEY": "canary/of+the=secret'key", "AWS_SESSION_TOKEN": "canary-of-the-session-token"}


class Bucket:
    """A bucket of a server that lives as long as the session."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint = endpoint
        self._client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        self._client.create_bucket(Bucket="lake")

    def objects(self) -> dict[str, bytes]:
        """Return everything that the bucket holds."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket="lake")
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self._client.get_object(Bucket="lake", Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    moto = pytest.importorskip("moto.server", reason="no S3 server is installed (pip install -e '.[test]')")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Bucket(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def address(bucket: Bucket, server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new lake with its data in the bucket, and the keys where people keep them."""
    settings = {"AWS_ACCESS_KEY_ID": "key", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": bucket.endpoint, **SECRETS}
    for name, value in {**settings, "ISOFLOP_SPOOL": str(tmp_path / "spools")}.items():
        monkeypatch.setenv(name, value)
    database = server.new_database()
    return f"postgresql://{server.USER}@127.0.0.1:{server.port}/{database}?data=s3://lake/{database}"


def spooled(lake: Lakehouse, run: RunRecord, steps: range, attempt: int = 1) -> None:
    with Spool(lake.spool_folder, run.run_id, attempt) as spool:
        for step in steps:
            spool.log(step, loss=1.0 / (step + 1))


@pytest.fixture
def isoflop(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run the command line in this process and return its exit code."""

    def run(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["isoflop", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code

    return run


@pytest.mark.slow
def test_a_lake_lives_in_an_object_store(address: str, bucket: Bucket) -> None:
    run = RunRecord(family="mine", config={"width": 8})
    with Lakehouse(address) as lake:
        lake.record_runs([run])
        for attempt in (1, 2, 3):
            spooled(lake, run, range(200), attempt)
            lake.drain()
        assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 600}]
        (about,) = describe(lake).records()
        assert about["address"] == address and about["points"] == 600
        lake.compact()
        assert find_problems(lake).records() == []
    with Lakehouse(address) as lake:
        curve = lake.query("SELECT step, loss FROM curves ORDER BY step").to_pylist()
        assert curve == [{"step": step, "loss": 1.0 / (step + 1)} for step in range(200)]
    prefix = address.rpartition("s3://lake/")[2]
    assert {key for key in bucket.objects() if key.startswith(prefix) and key.endswith(".parquet")}


@pytest.mark.long
def test_what_cannot_be_written_to_the_bucket_waits_in_the_spool(
    address: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunRecord(family="mine")
    with Lakehouse(address) as lake:
        lake.record_runs([run])
        spooled(lake, run, range(50))
    monkeypatch.setattr("isoflop.lakehouse.shared.store.PATIENCE", 0.5)
    nowhere = address.replace("s3://lake/", "s3://no-such-bucket/")
    with pytest.raises(StoreError) as caught:
        Lakehouse(nowhere)
    told = str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with Lakehouse(address, drains=False) as lake:
        spooled(lake, run, range(50, 80), attempt=2)
        with pytest.raises(StoreError) as caught:
            lake.drain()
        told += str(caught.value)
        assert list(lake.spool_folder.glob("*.parquet"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    with Lakehouse(address) as lake:
        assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 80}]
        assert find_problems(lake).records() == []
    assert not [secret for secret in SECRETS.values() if secret in told]


@pytest.mark.slow
def test_no_secret_is_in_the_store_the_spool_or_anything_said(
    address: str,
    bucket: Bucket,
    server: Postgres,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    isoflop: Callable[..., object],
) -> None:
    secrets = {*SECRETS.values(), server.PASSWORD}
    said: list[str] = []
    with Lakehouse(address, hold=True) as lake:
        with lake.run("mine", {"width": 8}) as run:
            run.log(step=1, loss=2.0)
            run.note("hello")
        with pytest.raises(ZeroDivisionError), lake.run("mine", {"width": 9}) as run:
            run.log(step=1, loss=2.0)
            1 / 0  # noqa: B018
        said.append(repr(lake) + lake.address)
        for sql in ("FROM duckdb_secrets()", "FROM duckdb_databases()", "FROM duckdb_settings()"):
            said.append(str(lake.query(sql).to_pylist()))
    for arguments in (
        ("lake", "info"), ("lake", "check"), ("runs",), ("sql", "SELECT nope FROM runs"), ("sql", "FROM attempts"),
        ("sql", "COPY runs TO 's3://no-such-bucket/x.parquet'"),
    ):  # fmt: skip
        isoflop(*arguments, "--lake", address)
    assert isoflop("runs", "--lake", address.replace(server.USER, "nobody_knows", 1)) == 3
    with_password = address.replace("://", f"://{server.USER}:{server.PASSWORD.replace(' ', '%20')}@x", 1)
    assert isoflop("runs", "--lake", with_password) == 2  # refused, without being repeated
    with Lakehouse(address) as lake:
        tables = lake.query("SELECT schema_name AS s, table_name AS t FROM duckdb_tables()").to_pylist()
        said += [str(lake.query(f"FROM store.{row['t']}").to_pylist()) for row in tables if row["s"] == "store"]
        spool = lake.spool_folder
    said += list(capfd.readouterr())
    stored = {**bucket.objects(), **{str(path): path.read_bytes() for path in files_below(tmp_path)}}
    stored["catalog"] = server.dump(address.rpartition("/")[2])
    assert spool.is_relative_to(tmp_path) and b"ducklake" in stored["catalog"]
    for secret in secrets:
        forms = {secret, secret.replace(" ", "%20"), secret.replace("'", "''")}
        for form in forms:
            assert not [text for text in said if form in text], f"{form} was said"
            assert not [name for name, content in stored.items() if form.encode() in content], f"{form} is stored"


def files_below(folder: Path) -> list[Any]:
    return [path for path in folder.rglob("*") if path.is_file()]
