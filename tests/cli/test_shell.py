"""`isoflop shell`: statements piped in, and statements typed at the prompt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from isoflop.cli.conversation import Conversation, is_blank, split_ended
from isoflop.cli.prompt import NameCompleter, converse, make_prompt
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError, UsageError


@pytest.fixture
def session(lakehouse: Lakehouse) -> Iterator[Conversation]:
    with Conversation(lakehouse, "csv") as conversation:
        yield conversation


def test_piped_statements_are_answered_in_order(session: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    session.run_lines(["SELECT 1 AS a; SELECT\n", "  2 AS b -- ; not here\n", ";\n", "SELECT ';' AS c"])
    assert capsys.readouterr().out == "a\n1\nb\n2\nc\n;\n"


def test_the_first_error_of_a_pipe_stops(session: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(duckdb.Error):
        session.run_lines(["SELECT 1 AS a;\n", "SELEC 2;\n", "SELECT 3;\n"])
    assert capsys.readouterr().out == "a\n1\n"
    with pytest.raises(IsoflopError):
        session.run_lines(["DESCRIBE LAW nothing;"])


def test_commands_that_start_with_a_dot(
    session: Conversation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.sql").write_text("SELECT 7 AS seven;")
    session.run_lines(
        [
            ".help\n",
            ".tables\n",
            ".laws\n",
            ".format json\n",
            f".read {tmp_path / 'more.sql'}\n",
            ".quit\n",
            "SELECT 1;",
        ]
    )
    out, err = capsys.readouterr()
    assert "EXTRAPOLATE chin TO" in out and "runs,VIEW" in out and '"seven": 7' in out and "SELECT 1" not in out
    assert session.is_over and "printed as json" in err
    with pytest.raises(UsageError, match=r"no command \.tabels"):
        session.command(".tabels")
    with pytest.raises(UsageError, match="cannot be read"):
        session.command(".read nowhere.sql")


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("SELECT 1", [], "SELECT 1"),
        ("SELECT 1;;", ["SELECT 1;"], ""),
        ("SELECT 1; -- done\n", ["SELECT 1;"], " -- done\n"),
        ("SELECT 'a;", [], "SELECT 'a;"),
        ("SELECT $$;$$; X", ["SELECT $$;$$;"], " X"),
    ],
)
def test_a_statement_ends_at_its_semicolon(text: str, statements: list[str], rest: str) -> None:
    assert split_ended(text) == (statements, rest)


def test_comments_are_blank() -> None:
    assert is_blank(" -- nothing\n /* here */ ") and not is_blank("x")


@pytest.fixture
def typing(
    session: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Conversation]]:
    """Type keys at the prompt of a session until it ends."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):

        def type_keys(text: str) -> Conversation:
            keys.send_text(text)
            converse(session, make_prompt(NameCompleter(session.lake)))
            return session

        yield type_keys


def test_enter_sends_a_statement_that_has_ended(
    typing: Callable[[str], Conversation], capsys: pytest.CaptureFixture[str]
) -> None:
    typing("SELECT 1\rAS a;\r.quit\r")
    out, err = capsys.readouterr()
    assert out == "a\n1\n" and "1 row in" in err


def test_an_error_is_shown_and_the_conversation_goes_on(
    typing: Callable[[str], Conversation], capsys: pytest.CaptureFixture[str]
) -> None:
    typing("SELECT nope FROM (SHOW LAWS);\rSELECT 2 AS b;\r.nothing\r\x04")
    out, err = capsys.readouterr()
    assert out == "b\n2\n"
    assert "LINE 1: SELECT nope" in err and "^^^^" in err and "no command .nothing" in err


def test_control_c_forgets_the_line(typing: Callable[[str], Conversation], capsys: pytest.CaptureFixture[str]) -> None:
    typing("SELECT 'half\x03SELECT 3 AS c;\r.quit\r")
    assert capsys.readouterr().out == "c\n3\n"


def test_what_was_typed_is_remembered(typing: Callable[[str], Conversation], tmp_path: Path) -> None:
    typing("SELECT 1;\r.quit\r")
    history = tmp_path / "state" / "isoflop" / "history"
    assert "SELECT 1;" in history.read_text() and history.stat().st_mode & 0o077 == 0


def completions(completer: NameCompleter, text: str) -> list[str]:
    from prompt_toolkit.completion import CompleteEvent

    return [each.text for each in completer.get_completions(Document(text), CompleteEvent())]


def test_names_of_the_lake_are_completed(lakehouse: Lakehouse) -> None:
    completer = NameCompleter(lakehouse)
    assert "chinchilla" in completions(completer, "FIT loss ~ chin")
    assert "auto" in completions(completer, "FIT loss ~ aut")
    assert "EXTRAPOLATE" in completions(completer, "extra") and "runs" in completions(completer, "FROM ru")
    assert "learning_rate" in completions(completer, "SELECT lear") and completions(completer, ".ta") == [".tables"]
    assert completions(completer, "SELECT 1 + ") == []
    lakehouse.query("CREATE TABLE later (x INTEGER)")
    assert "later" not in completions(completer, "FROM lat")
    completer.forget()
    assert "later" in completions(completer, "FROM lat")


class Impatient(Conversation):
    """A person who presses Ctrl-C a moment after asking something that takes for ever."""

    def ask(self, statement: str) -> int:
        if "range" not in statement:
            return super().ask(statement)
        stop = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        stop.start()
        try:
            return super().ask(statement)
        finally:
            stop.join()


def test_control_c_stops_a_statement_and_not_the_conversation(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("SELECT sum(i * j % 7) FROM range(1000000000) t(i), range(1000) u(j);\r")
        keys.send_text("SELECT 4 AS d;\r.quit\r")
        converse(Impatient(lakehouse, "csv"), make_prompt(NameCompleter(lakehouse)))
    out, err = capsys.readouterr()
    assert out == "d\n4\n" and "interrupted" in err


def test_what_a_conversation_makes_lasts(session: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    session.run_lines(["CREATE TEMP TABLE t AS SELECT 1 AS a; BEGIN; CREATE TABLE u AS FROM t; ROLLBACK;\n", "FROM t;"])
    assert capsys.readouterr().out.endswith("a\n1\n")
    with pytest.raises(duckdb.Error, match="u does not exist"):
        session.ask("FROM u")


def test_laws_take_part_in_a_transaction(session: Conversation) -> None:
    session.run_lines(
        ["CREATE TABLE p AS SELECT 1e6 * 2 ** range AS params, 2 + 9 / params ** 0.2 AS loss FROM range(9);"]
    )
    law = "CREATE LAW far AS FIT loss ~ power(params) FROM p WITH (resamples = 0);"
    session.run_lines(["BEGIN;", law, "SELECT far(1e9) > 2;", "ROLLBACK;"])
    assert session.lake.query("FROM laws").num_rows == 0
    session.run_lines(["BEGIN;", law, "COMMIT;", "SELECT far(1e9) > 2;"])
    assert session.lake.query("FROM laws").num_rows == 1


@pytest.mark.slow
def test_every_example_of_the_help_can_be_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import isoflop
    from isoflop.cli.verbs import options_of, shown
    from isoflop.queries.language.options import _EXPRESSIONS, _KINDS, MEANINGS
    from isoflop.queries.language.verbs import VERBS

    assert set(MEANINGS) == {*_KINDS, *_EXPRESSIONS}
    assert all(any(brief.words in ("", each.name) for each in shown()) for verb in VERBS for brief in verb.briefs)
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        from isoflop.lakehouse import RunRecord

        lake.record_runs(
            [
                RunRecord(family="mine", config={"k": k}, params=1e6 * 2.0 ** (k % 12), tokens=1e8 * 2.0 ** (k // 12))
                for k in range(132)
            ]
        )
        with Conversation(lake, "csv") as conversation:
            conversation.run_lines(
                [
                    "CREATE TEMP TABLE runs AS SELECT run_id, params, tokens, 6 * params * tokens AS flops, "
                    "1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 + 0.003 * sin(17.0 * k::DOUBLE) AS loss, "
                    "'finished' AS status FROM main.runs;"
                ]
            )
            for verb in shown():
                conversation.ask(verb.example)
                conversation.command(f".help {verb.name}")
    out = capsys.readouterr().out
    assert "chin" in out and "resamples   how many" in out and options_of("FORECAST")["level"]
    with pytest.raises(UsageError, match="no verb FITT"):
        Conversation(lake).command(".help FITT")


def test_the_last_answer_and_a_law_are_plotted(session: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="nothing was asked"):
        session.command(".plot")
    session.ask("SELECT 10.0 ** range AS params, 9.0 - range AS loss FROM range(5)")
    capsys.readouterr()
    session.command(".plot")
    assert "loss over params" in capsys.readouterr().out
    session.ask("SELECT 'a' AS only")
    with pytest.raises(UsageError, match="0 columns of numbers"):
        session.command(".plot")
    session.command(".timing off")
    session.command(".pager off")
    assert not session.is_timed and not session.is_paged
    with pytest.raises(UsageError, match="on or off"):
        session.command(".timing maybe")


def test_completions_say_what_they_mean(session: Conversation) -> None:
    from prompt_toolkit.completion import CompleteEvent

    session.ask("CREATE TEMP TABLE mine AS SELECT 1 AS own_column")
    completer = NameCompleter(session.session)

    def meanings(text: str) -> dict[str, str]:
        return {one.text: one.display_meta_text for one in completer.get_completions(Document(text), CompleteEvent())}

    assert "intervals" in meanings("FIT loss ~ power(params) FROM runs WITH (resam")["resamples"]
    assert list(meanings("EXTRAPOLATE x TO a = 1 WITH (level = 0.9, inter")) == ["interval"]
    assert "fit a law" in meanings("FI")["FIT"] and "form: " in meanings("FIT loss ~ chin")["chinchilla"]
    assert "mine" in meanings("FROM mi") and "column of" in meanings("SELECT learn")["learning_rate"]
    assert list(meanings(".help EXTRA")) == ["EXTRAPOLATE", "EXTRAPOLATE AVERAGE OF", "EXTRAPOLATE BEST OF"]


def test_verbs_are_colored_like_the_words_of_sql() -> None:
    from pygments.token import Keyword

    from isoflop.cli.prompt import StatementLexer

    words = {value: kind for kind, value in StatementLexer().get_tokens("EXTRAPOLATE chin TO params = 1e9")}
    assert words["EXTRAPOLATE"] in Keyword and words["TO"] in Keyword and words["chin"] not in Keyword


@pytest.mark.parametrize(
    ("mode", "printed"),
    [
        ("line", "── 1 of 1 ──\nparams  70000000000\n"),
        ("table", "params\n──────\n   70B\n"),
        ("csv", "params\n70000000000\n"),
    ],
)
def test_the_mode_of_answers(
    curves_lake: Lakehouse, capsys: pytest.CaptureFixture[str], mode: str, printed: str
) -> None:
    with Conversation(curves_lake) as conversation:
        conversation.run_lines([f".mode {mode}\n", "SELECT 70000000000 AS params;\n", ".mode\n"])
        out, err = capsys.readouterr()
        assert out == printed and err.count("answers are printed as") == 2
        with pytest.raises(UsageError, match="no format 'lin3'"):
            conversation.command(".mode lin3")
