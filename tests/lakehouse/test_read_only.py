"""Lakes open for reading only: every query is answered, nothing else is, and nothing changes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError, StoreError
from isoflop.lakehouse.sql.read_only_guard import check_reads
from tests.lakehouse.test_session import held

HOSTILE = """
CREATE TABLE x (i INTEGER)
CREATE TEMP TABLE x AS SELECT 1
CREATE OR REPLACE VIEW runs AS SELECT 1 AS a
CREATE VIEW v AS SELECT 1
CREATE SCHEMA other
CREATE SEQUENCE s
CREATE MACRO m(a) AS a + 1
CREATE MACRO m(f) AS TABLE FROM read_csv(f)
CREATE TYPE mood AS ENUM ('a')
CREATE INDEX i ON sizes (params)
CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')
DROP TABLE sizes
DROP VIEW runs
DROP SCHEMA store CASCADE
ALTER TABLE sizes ADD COLUMN y INTEGER
ALTER TABLE sizes RENAME TO other
INSERT INTO sizes VALUES (1, 2)
INSERT OR REPLACE INTO sizes VALUES (1, 2) RETURNING *
UPDATE sizes SET loss = 0
DELETE FROM sizes
DELETE FROM store.runs
TRUNCATE sizes
MERGE INTO sizes USING (SELECT 1 AS p) s ON s.p = sizes.params WHEN MATCHED THEN DELETE
COMMENT ON TABLE sizes IS 'gone'
COPY sizes TO '{folder}/out.csv'
COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)
COPY sizes FROM '{folder}/secret.csv'
COPY FROM DATABASE runs TO other
EXPORT DATABASE '{folder}/out'
IMPORT DATABASE '{folder}/out'
ATTACH '{folder}/other.duckdb'
ATTACH '{folder}/other.duckdb' AS other (READ_ONLY)
ATTACH ':memory:' AS other
DETACH runs
USE memory
SET enable_external_access = true
SET GLOBAL lock_configuration = false
SET access_mode = 'READ_WRITE'
SET allowed_directories = ['/']
SET VARIABLE a = 1
SET temp_directory = '{folder}/tmp'
RESET enable_external_access
PRAGMA enable_profiling
PRAGMA profile_output = '{folder}/profile.json'
PRAGMA force_checkpoint
PRAGMA import_database('{folder}/out')
PRAGMA json_execute_serialized_sql('{{}}')
CHECKPOINT
FORCE CHECKPOINT
VACUUM
ANALYZE
INSTALL httpfs
FORCE INSTALL httpfs
LOAD httpfs
LOAD '{folder}/evil.duckdb_extension'
UPDATE EXTENSIONS
CALL enable_logging()
CALL force_checkpoint()
BEGIN
BEGIN TRANSACTION
COMMIT
ROLLBACK
PREPARE p AS DELETE FROM sizes
EXECUTE p
DEALLOCATE p
EXPLAIN ANALYZE DELETE FROM sizes
EXPLAIN ANALYZE COPY sizes TO '{folder}/out.csv'
EXPLAIN (FORMAT json) CREATE TABLE x AS SELECT 1
SELECT 1; DROP TABLE sizes
SELECT 1; /* quiet */ COPY sizes TO '{folder}/out.csv'; SELECT 2
SELECT nextval('numbers')
SELECT write_log('x')
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('{folder}/*')
SELECT * FROM read_json('{folder}/secret.csv')
SELECT * FROM read_parquet('https://example.org/a.parquet')
SELECT * FROM parquet_scan('{folder}/a.parquet')
SELECT * FROM parquet_metadata('{folder}/a.parquet')
SELECT * FROM sniff_csv('{folder}/secret.csv')
SELECT * FROM glob('/etc/*')
SELECT * FROM '{folder}/secret.csv'
SELECT * FROM "{folder}/secret.csv"
SELECT * FROM secret.csv
FROM '/etc/passwd'
FROM 's3://bucket/a.parquet'
FROM sizes JOIN '{folder}/secret.csv' ON true
SELECT (SELECT count(*) FROM read_text('/etc/passwd'))
WITH a AS (FROM read_text('/etc/passwd')) FROM a
SELECT * FROM sizes WHERE EXISTS (FROM read_text('/etc/passwd'))
SELECT * FROM sizes ORDER BY (SELECT count(*) FROM glob('/*'))
DESCRIBE '{folder}/secret.csv'
DESCRIBE FROM '{folder}/secret.csv'
SUMMARIZE '{folder}/secret.csv'
FROM query('SELECT 1')
FROM query_table('{folder}/secret.csv')
FROM read_duckdb('{folder}/other.duckdb')
FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
FROM duckdb_secrets()
FROM duckdb_extensions()
FROM which_secret('s3://a', 's3')
FROM leak('/etc/passwd')
SELECT peek('/etc/passwd')
SELECT 1::INET
SELECT st_point(1, 2)
SELECT 'a' COLLATE elvish
PIVOT sizes ON params
CREATE LAW mine AS FIT loss ~ power(params) FROM sizes
CREATE OR REPLACE LAW big AS FIT loss ~ power(params) FROM sizes
DROP LAW big
ALTER LAW big RENAME TO small
COMMENT ON LAW big IS 'mine'
FORECAST big TO params = 1e12
SELECT 1; FORECAST big TO params = 1e12
FROM (FORECAST big TO params = 1e12)
FIT loss ~ power(params) FROM '{folder}/secret.csv'
FIT loss ~ power(params) FROM read_csv('{folder}/secret.csv')
EXTRAPOLATE big TO (FROM read_csv('{folder}/secret.csv'))
CREATE TABLE x AS FIT loss ~ power(params) FROM sizes
COPY (FIT loss ~ power(params) FROM sizes) TO '{folder}/out.csv'
FROM passwords
SELECT line FROM "PassWords" AS p
FROM main.passwords
FROM {catalog}.main.passwords
FROM {catalog}.passwords
DESCRIBE passwords
SUMMARIZE passwords
EXPLAIN ANALYZE FROM passwords
FROM again
SELECT (SELECT count(*) FROM once_more)
FROM sizes WHERE EXISTS (FROM again)
WITH passwords AS (FROM passwords) FROM passwords
WITH inner_query AS (FROM again) FROM inner_query
FROM sizes POSITIONAL JOIN again
FROM from_a_file
FROM "from a file, AS (x)"
FROM folders
FROM other.hidden
FROM OTHER."Hidden"
FROM asked
FROM asked_table
FROM counting
SELECT of_a_view('x')
FROM table_of_a_view(1)
FROM of_a_macro
FROM of_a_macro_of_a_view
PIVOT passwords ON line IN ('root') USING count(*)
FIT loss ~ power(params) FROM from_a_file
PREDICT big FROM again
EXTRAPOLATE big TO (FROM from_a_file)
""".strip().splitlines()

# What the lake's owner, who may read files, has made: each of these reaches outside the lake when it is asked for.
OPEN_DOORS = """
CREATE MACRO leak(f) AS TABLE FROM read_text(f)
CREATE MACRO peek(f) AS (SELECT content FROM read_text(f))
CREATE SCHEMA other
CREATE VIEW passwords AS SELECT unnest(string_split(content, chr(10))) AS line FROM read_text('{folder}/secret.csv')
CREATE VIEW again AS SELECT * FROM passwords
CREATE VIEW once_more (a) AS SELECT line FROM (SELECT * FROM main.again) AS inner_query
CREATE VIEW from_a_file AS SELECT * FROM '{folder}/secret.csv'
CREATE VIEW "from a file, AS (x)" ("a, b) AS SELECT", c) AS SELECT * FROM read_csv('{folder}/secret.csv')
CREATE VIEW folders AS SELECT * FROM glob('{folder}/*')
CREATE VIEW other."Hidden" AS SELECT * FROM read_blob('{folder}/secret.csv')
CREATE VIEW asked AS SELECT * FROM query('SELECT 1 AS a')
CREATE VIEW asked_table AS SELECT * FROM query_table('sizes')
CREATE RECURSIVE VIEW counting (n) AS SELECT count(*) FROM read_text('{folder}/secret.csv') UNION ALL SELECT n + 1 FROM counting WHERE n < 3
CREATE MACRO of_a_view(x) AS (SELECT count(*) FROM again)
CREATE MACRO table_of_a_view(n) AS TABLE SELECT * FROM once_more LIMIT n
CREATE VIEW of_a_macro AS SELECT * FROM leak('{folder}/secret.csv')
CREATE VIEW of_a_macro_of_a_view AS SELECT of_a_view('x') AS n
""".strip().splitlines()  # noqa: E501

FRIENDLY = (
    "SELECT 1", "FROM sizes", "SELECT max(loss) OVER (ORDER BY params) FROM sizes", "DESCRIBE sizes", "SUMMARIZE sizes",
    "SHOW TABLES", "SHOW LAWS", "SHOW LAW FORMS", "SHOW FORECASTS", "DESCRIBE LAW big", "EXPLAIN ANALYZE FROM sizes",
    "FIT loss ~ power(params) FROM sizes WITH (resamples = 20)", "EXPLAIN FIT loss ~ power(params) FROM sizes",
    "FIT loss ~ E + A * params ^ -b PARAMETERS (E > 0, A > 0, b > 0) FROM sizes WITH (resamples = 0)",
    "EXTRAPOLATE big TO params = [1e12, 1e13]", "PREDICT big FROM sizes", "RESIDUALS big FROM sizes",
    "CROSS VALIDATE big FROM sizes HOLDOUT LARGEST 2 BY params", "COMPARE big, (loss ~ power(params)) FROM sizes",
    "OPTIMIZE big MINIMIZE loss OVER params IN [1e6, 1e9] LOG SUBJECT TO params <= 1e8",
    "SELECT big(1e9), half(3), (FROM (EXTRAPOLATE big TO params = 1e12) SELECT lower) AS low",
    "FROM store.laws SELECT name", "FROM fine(3)", "PIVOT sizes ON params IN (1e6, 2e6) USING max(loss)",
    "SELECT count(*) FROM runs; SELECT count(*) FROM curves", "WITH a AS (FROM sizes) FROM a SELECT sum(loss)",
    "FROM small", "SELECT * FROM small JOIN main.smallest USING (params)", "DESCRIBE smallest", "SUMMARIZE small",
    "FROM numbered", 'FROM other."Fine View"', "FROM halves", "WITH small AS (FROM small LIMIT 1) FROM small",
    "FIT loss ~ power(params) FROM smallest WITH (resamples = 0)", "FROM information_schema.tables",
)  # fmt: skip


def fill(lake: Lakehouse, folder: Path) -> None:
    """Rows, a law, harmless views and macros, and those of its owner's that read files."""
    (folder / "secret.csv").write_text("params,loss\n" + "".join(f"{10**n},{4 - n / 4}\n" for n in range(1, 8)))
    for statement in (
        "CREATE TABLE sizes AS SELECT 1e6 * 2 ** range AS params, 2 + 100 / params ** 0.3 AS loss FROM range(12)",
        "CREATE MACRO half(x) AS x / 2",
        "CREATE MACRO fine(n) AS TABLE FROM range(n)",
        *(statement.format(folder=folder) for statement in OPEN_DOORS),
        "CREATE VIEW small AS FROM sizes WHERE params < 1e9",
        "CREATE VIEW smallest AS SELECT params, loss FROM small",
        "CREATE RECURSIVE VIEW numbered (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM numbered WHERE n < 3",
        'CREATE VIEW other."Fine View" ("a b", c) AS SELECT half(params), loss FROM main.small',
        "CREATE VIEW halves AS SELECT half(range) AS h FROM fine(3)",
    ):
        lake.query(statement)
    lake.sql("CREATE LAW big AS FIT loss ~ power(params) FROM sizes WITH (resamples = 20)")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake in a file."""
    folder = tmp_path_factory.mktemp("stored")
    with isoflop.open(folder / "runs.duckdb") as lake:
        fill(lake, folder)
        lake.query("CREATE SEQUENCE numbers")
    return folder


@pytest.fixture(
    params=["own", pytest.param("held", marks=pytest.mark.long), pytest.param("shared", marks=pytest.mark.long)]
)
def lake(request: pytest.FixtureRequest, stored: Path) -> Iterator[Lakehouse]:
    """The lake, open for reading only: its file, the file at another process that holds it, and in a shared catalog."""
    if request.param == "own":
        with isoflop.open(stored / "runs.duckdb", read_only=True) as opened:
            yield opened
    elif request.param == "held":
        with held(stored / "runs.duckdb"), isoflop.open(stored / "runs.duckdb", read_only=True) as opened:
            yield opened
    else:
        address = request.getfixturevalue("shared_address")
        with isoflop.open(address) as writer:
            fill(writer, stored)
        with isoflop.open(address, read_only=True) as opened:
            yield opened


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("keeper.")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(lake: Lakehouse) -> list[object]:
    return [
        lake.query("SELECT table_name FROM duckdb_tables() ORDER BY ALL").to_pylist(),
        lake.query("SELECT database_name FROM duckdb_databases() ORDER BY ALL").to_pylist(),
        lake.query("SELECT function_name FROM duckdb_functions() WHERE NOT internal ORDER BY ALL").to_pylist(),
        lake.query("SELECT name, value FROM duckdb_settings() WHERE name <> 'search_path' ORDER BY ALL").to_pylist(),
        lake.query("FROM sizes ORDER BY ALL").to_pylist(),
        lake.query("FROM store.laws ORDER BY ALL").num_rows,
        lake.query("FROM store.forecasts").num_rows,
    ]


def test_hostile_statements_are_refused_and_change_nothing(lake: Lakehouse, stored: Path) -> None:
    assert len(HOSTILE) >= 150
    before, files = rows(lake), fingerprint(stored)
    catalog = lake.query("SELECT current_database() AS name").to_pylist()[0]["name"]
    with lake.session() as session, lake.staying():  # opened once, not for each statement
        for statement in HOSTILE:
            text = statement.format(folder=stored, catalog=catalog)
            with pytest.raises((IsoflopError, duckdb.Error)) as refused:
                session.sql(text)
            message = str(refused.value)
            if not isinstance(refused.value, duckdb.ParserException | duckdb.InvalidInputException):
                assert "open for reading only" in message, text
                assert "LINE" in message and "^" in message, text
    assert rows(lake) == before and fingerprint(stored) == files


def test_queries_are_answered(lake: Lakehouse) -> None:
    with lake.staying():
        for statement in FRIENDLY:
            assert lake.sql(statement).arrow().num_columns, statement


def test_nothing_is_recorded_into_a_lake_open_for_reading_only(stored: Path) -> None:
    with isoflop.open(stored / "runs.duckdb", read_only=True) as lake:
        for change in (lake.drain, lake.compact, lambda: lake.snapshot(stored / "copy.duckdb"), lake.hold().__enter__):
            with pytest.raises(StoreError, match="open for reading only"):
                change()
        with pytest.raises(StoreError, match="open for reading only"), lake.run("mine", {"width": 8}):
            pass


def test_a_reader_does_not_keep_writers_out(stored: Path) -> None:
    path = stored / "runs.duckdb"
    with isoflop.open(path, read_only=True) as reader:
        with held(path):
            assert reader.sql("SELECT count(*) AS n FROM sizes").records() == [{"n": 12}]
        assert reader.sql("SELECT count(*) AS n FROM sizes").records() == [{"n": 12}]
        with isoflop.open(path) as writer:
            assert writer.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
            assert reader.sql("SELECT big(1e9) > 2 AS yes").records() == [{"yes": True}]


def test_a_missing_lake_is_not_made_and_an_old_one_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        isoflop.open(tmp_path / "missing.duckdb", read_only=True)
    with isoflop.open(tmp_path / "old.duckdb") as lake:
        lake.query("DELETE FROM store.schema_migrations WHERE version > 1")
    before = fingerprint(tmp_path)
    with pytest.raises(StoreError, match="schema 1"):
        isoflop.open(tmp_path / "old.duckdb", read_only=True)
    assert fingerprint(tmp_path) == before


@pytest.mark.long
def test_a_shared_lake_is_read_only_too(shared_address: str, tmp_path: Path) -> None:
    with Lakehouse(shared_address) as lake, lake.run("mine", {"width": 8}) as run:
        run.log(step=1, loss=2.5)
    with isoflop.open(shared_address, read_only=True) as reader:
        assert reader.sql("SELECT width, loss FROM runs").records() == [{"width": 8, "loss": 2.5}]
        assert reader.sql("SELECT loss FROM curves").records() == [{"loss": 2.5}]
        for statement in HOSTILE:
            with pytest.raises((IsoflopError, duckdb.Error)):
                reader.sql(statement.format(folder=tmp_path, catalog="lake"))
        con = reader._reach()._con  # type: ignore[attr-defined]
        for statement in ("INSERT INTO lake.store.sweeps (name) VALUES ('x')", "FROM read_text('/etc/passwd')"):
            with pytest.raises(duckdb.Error):
                con.execute(statement)


@pytest.mark.parametrize(
    ("macro", "statement"),
    [
        ("CREATE MACRO abs(x) AS (SELECT content FROM read_text(x))", "SELECT abs('/etc/passwd')"),
        ('CREATE MACRO "+"(a, b) AS (SELECT content FROM read_text(a))', "SELECT '/etc/passwd' + 1"),
        ("CREATE MACRO range(f) AS TABLE FROM read_text(f)", "FROM range('/etc/passwd')"),
        ("CREATE MACRO array_extract(f, n) AS (SELECT content FROM read_text(f))", "SELECT ('/etc/passwd')[1]"),
    ],
)
def test_a_macro_that_hides_a_function_of_duckdb_is_looked_into(macro: str, statement: str) -> None:
    with duckdb.connect() as con:  # reaches files, as the connection of a holder does

        def ask(sql: str, parameters: object) -> pa.Table:
            return con.execute(sql, parameters).to_arrow_table()

        check_reads("SELECT abs(1), 1 + 1, [1][1]; FROM range(3)", ask)
        con.execute(macro)

        def ask_anew(sql: str, parameters: object) -> pa.Table:
            return ask(sql, parameters)

        with pytest.raises(duckdb.PermissionException, match="reaches outside"):
            check_reads(statement, ask_anew)


def test_circles_of_views_and_macros_end(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "circles.duckdb") as lake:
        for statement in (
            "CREATE VIEW first AS SELECT 1 AS n", "CREATE VIEW second AS FROM first",
            "CREATE OR REPLACE VIEW first AS FROM second",
            "CREATE MACRO ping(x) AS x", "CREATE MACRO pong(x) AS ping(x)",
            "CREATE OR REPLACE MACRO ping(x) AS pong(x)",
            "CREATE MACRO rows_of() AS TABLE SELECT 1 AS n", "CREATE VIEW shown AS FROM rows_of()",
            "CREATE OR REPLACE MACRO rows_of() AS TABLE FROM shown",
        ):  # fmt: skip
            lake.query(statement)
    with isoflop.open(tmp_path / "circles.duckdb", read_only=True) as lake:
        for statement in ("FROM first", "SELECT ping(1)", "FROM shown", "FROM rows_of()"):
            with pytest.raises(duckdb.BinderException, match=r"recursion|depth"):
                lake.query(statement)


def test_a_statement_nested_too_deeply_is_refused(stored: Path) -> None:
    nested = "SELECT * FROM " + "(SELECT * FROM " * 450 + "range(1)" + ")" * 450
    with isoflop.open(stored / "runs.duckdb", read_only=True) as lake, lake.staying():
        with pytest.raises(duckdb.PermissionException, match="nested this deeply"):
            lake.query(nested)
        assert lake.query("SELECT count(*) AS n FROM sizes").to_pylist() == [{"n": 12}]


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    statement=st.sampled_from(HOSTILE),
    before=st.sampled_from(["", " ", "\n\t", "-- SELECT 1\n", "/* a; b */ ", ";", "SELECT 1; ", "SELECT ';'; "]),
    after=st.sampled_from(["", ";", " ; SELECT 1", " -- quiet", "\n;\n"]),
    change=st.sampled_from(
        [str, str.lower, str.title, lambda text: text.replace(" ", "\n"), lambda text: f"EXPLAIN {text}"]
    ),
)
def test_variants_of_hostile_statements_change_nothing(
    stored: Path, statement: str, before: str, after: str, change: Callable[[str], str]
) -> None:
    text = before + change(statement.format(folder=stored, catalog="runs")) + after
    with isoflop.open(stored / "runs.duckdb", read_only=True) as lake:
        files = fingerprint(stored)
        with contextlib.suppress(IsoflopError, duckdb.Error):
            lake.sql(text)
        assert fingerprint(stored) == files
        assert lake.query("SELECT count(*) AS n FROM sizes").to_pylist() == [{"n": 12}]
