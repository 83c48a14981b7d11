"""Two statements that change one law: one wins, the other changes nothing, and functions are those of kept laws."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError, StatementError
from isoflop.queries.language.execute import answer_clause
from isoflop.queries.language.parse import parse_clause
from isoflop.queries.language.question import Question
from isoflop.queries.language.services import Services
from isoflop.queries.language.text import Text
from isoflop.queries.language.verb import Plan
from isoflop.queries.language.verbs import words

FIT = "FIT loss ~ power(params) FROM t WITH (resamples = 0)"
OTHER = "FIT loss ~ power(params) FROM t WHERE params < 1e7 WITH (resamples = 0)"


@pytest.fixture
def lake(address: str) -> Lakehouse:
    """A lake with a table `t` and the law `n`."""
    lake = isoflop.open(address)
    lake.sql(
        "CREATE TABLE t AS SELECT p AS params, 2 + 9 / p ** 0.3 AS loss FROM (SELECT unnest([1e3,1e4,1e5,1e6,1e7]) p)"
    )
    lake.sql(f"CREATE LAW n AS {FIT}")
    return lake


def planned(lake: Lakehouse, text: str) -> tuple[Plan, Question]:
    """Return the plan of a statement that has read the lake, and has not run yet."""
    typed = Text.of(text, words())
    question = Question(typed, Services(lake), None, answer_clause)
    clause = parse_clause(text, typed.tokens, 0, len(typed.tokens) - 1, typed.words)
    return clause.verb.plan(question, clause.node), question


def laws(lake: Lakehouse) -> set[str]:
    return {row["name"] for row in lake.sql("SELECT DISTINCT name FROM laws").records()}


def functions(lake: Lakehouse, *names: str) -> set[str]:
    """Return which of some names are functions."""
    found = set()
    for name in names:
        try:
            lake.query(f"SELECT {name}(1e4)")
        except duckdb.CatalogException:
            continue
        found.add(name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("late", "early", "message", "kept"),
    [
        ("ALTER LAW n RENAME TO m", "DROP LAW n", "law 'n' was dropped or renamed meanwhile", set()),
        ("DROP LAW n", "ALTER LAW n RENAME TO m", "law 'n' was dropped or renamed meanwhile", {"m"}),
        ("DROP LAW n", "DROP LAW n", "law 'n' was dropped or renamed meanwhile", set()),
        ("ALTER LAW n RENAME TO m", "ALTER LAW n RENAME TO k", "law 'n' was dropped or renamed meanwhile", {"k"}),
        ("ALTER LAW n RENAME TO m", f"CREATE LAW m AS {FIT}", "law 'm' exists", {"n", "m"}),
        ("ALTER LAW n RENAME TO m", f"CREATE OR REPLACE LAW n AS {OTHER}", "law 'n' was fitted anew", {"n"}),
        ("COMMENT ON LAW n IS 'mine'", "DROP LAW n", "law 'n' was dropped or renamed meanwhile", set()),
        ("FORECAST n TO params = 1e9", "ALTER LAW n RENAME TO m", "law 'n' was dropped or renamed meanwhile", {"m"}),
        ("FORECAST n TO params = 1e9", "DROP LAW n", "law 'n' was dropped or renamed meanwhile", set()),
        (f"CREATE LAW m AS {FIT}", "ALTER LAW n RENAME TO m", "law 'm' exists", {"m"}),
    ],
)
def test_who_comes_second_changes_nothing(lake: Lakehouse, late: str, early: str, message: str, kept: set[str]) -> None:
    plan, _ = planned(lake, late)
    lake.sql(early)
    values = {name: lake.query(f"SELECT {name}(1e4) AS y").to_pylist() for name in kept}
    with pytest.raises(StatementError, match=message):
        plan.run()
    assert laws(lake) == functions(lake, "n", "m", "k") == kept
    assert {name: lake.query(f"SELECT {name}(1e4) AS y").to_pylist() for name in kept} == values
    assert not lake.sql("SELECT * FROM forecasts").records()
    assert all(row["comment"] is None for row in lake.sql("SHOW LAWS").records())
    lake.close()


def test_a_refit_of_a_law_that_is_gone_keeps_nothing(lake: Lakehouse) -> None:
    lake.query("INSERT INTO t VALUES (1e8, 2.3)")
    plan, _ = planned(lake, "REFIT LAW n")
    lake.sql("DROP LAW n")
    with pytest.raises(StatementError, match="law 'n' was dropped or renamed meanwhile"):
        plan.run()
    assert laws(lake) == functions(lake, "n") == set()
    lake.close()


@pytest.mark.slow
def test_what_may_be_gone_or_there_is_no_error(lake: Lakehouse) -> None:
    drop, dropping = planned(lake, "DROP LAW IF EXISTS n")
    make, making = planned(lake, f"CREATE LAW IF NOT EXISTS m AS {FIT}")
    lake.sql("ALTER LAW n RENAME TO m")
    drop.run()
    make.run()
    assert dropping.services.notes == ["law 'n' was dropped or renamed meanwhile; nothing was dropped"]
    assert making.services.notes[-1] == "law 'm' was made meanwhile; nothing is kept"
    assert laws(lake) == {"m"}
    lake.close()


@pytest.mark.slow
def test_threads_that_drop_and_rename_leave_no_function_behind(lake: Lakehouse) -> None:
    lost: list[Exception] = []
    for number in range(4):
        lake.sql(f"CREATE LAW n{number} AS {FIT}")
        barrier = threading.Barrier(2)

        def ask(text: str, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                lake.sql(text)
            except IsoflopError as error:
                lost.append(error)

        texts = (f"DROP LAW n{number}", f"ALTER LAW n{number} RENAME TO m{number}")
        pair = [threading.Thread(target=ask, args=(text,)) for text in texts]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()
    names = [f"{letter}{number}" for letter in "nm" for number in range(4)]
    assert functions(lake, *names) == laws(lake) - {"n"}
    assert len(lost) >= 4 - 1 and all(isinstance(error, StatementError) for error in lost)
    lake.close()


def test_a_version_without_bounds_leaves_none_of_the_one_before(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "l.duckdb") as lake:
        rows = "10.0 * (range + 1) AS n, 4.0 / (range + 1) ** 0.5 + 1 AS loss, 1e4 AS b, 1e4 AS k"
        lake.sql(f"CREATE TABLE t AS SELECT {rows} FROM range(9)")
        lake.sql("CREATE LAW own AS FIT loss ~ power(n) FROM t WITH (resamples = 0)")
        assert functions(lake, "own", "own_lower") == {"own", "own_lower"}
        lake.sql("CREATE OR REPLACE LAW own AS FIT loss ~ nqs(n, b, k) FROM t WITH (resamples = 0)")
        assert functions(lake, "own_lower", "own_upper") == set()


def test_an_open_transaction_of_another_session_is_one_clear_error(lake: Lakehouse) -> None:
    if lake.is_shared:
        lake.close()
        pytest.skip("a shared catalog notices at COMMIT")
    with lake.session() as one, lake.session() as two:
        one.sql("BEGIN")
        two.sql("BEGIN")
        one.sql("DROP LAW n")
        for text in ("ALTER LAW n RENAME TO m", "DROP LAW n"):
            with pytest.raises(
                StatementError, match=r"another session is changing law 'n'(?s:.)*Hint: nothing was changed"
            ):
                two.sql(text)
            two.sql("ROLLBACK")
            two.sql("BEGIN")
        one.sql("COMMIT")
    assert laws(lake) == functions(lake, "n", "m") == set()
    lake.close()
