"""Names, notes and errors of strangers do not steer the terminal they are shown on."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

import isoflop
from isoflop.cli.output import show
from isoflop.cli.progress import LineProgress, picture
from isoflop.cli.tui.app import IsoflopApp
from isoflop.cli.tui.run_view import RunView
from isoflop.lakehouse import Answer, Lakehouse
from isoflop.lakehouse.errors import UsageError, underline
from isoflop.lakehouse.visible import visible, visible_line
from isoflop.workers.cluster import Event, SweepState
from tests.cli.tui_pilot import screen_text, settle

HOSTILE = "m\x1b]0;pwned\x07\x1b[2J\x9b31m\u202etxt\u2066\u200b\x08\r\x7f!"
SHOWN = r"m\x1b]0;pwned\x07\x1b[2J\x9b31m\u202etxt\u2066\u200b\x08\r\x7f!"
RAW = ("\x1b]0;pwned", "\x07", "\x1b[2J", "\x9b", "\u202e", "\u2066", "\u200b", "\x08", "\x7f")
LIMIT = 120.0  # seconds for a command on a loaded machine


@pytest.fixture(scope="module")
def hostile_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a stranger: one run that finished and one that failed."""
    path = tmp_path_factory.mktemp("hostile") / "strange.duckdb"
    with isoflop.open(path) as lake:
        with lake.run(HOSTILE, {"k": HOSTILE}, name=HOSTILE) as run:
            run.note(HOSTILE)
            for step in range(1, 4):
                run.log(step=step, loss=3.0 / step)
        with contextlib.suppress(ValueError), lake.run("mine", {"k": "2"}, name="failing"):
            raise ValueError(HOSTILE)
    return path


def on_terminal(*words: str, typed: str = "") -> str:
    """What a command writes on a real terminal of 400 columns, everything that it sends."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 400, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment = {**inherited, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = [sys.executable, "-m", "isoflop", *words]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    written, ends = b"", time.monotonic() + LIMIT
    try:
        while time.monotonic() < ends:
            if typed and b"isoflop" in written:
                os.write(master, typed.encode())
                typed = ""
            if select.select([master], [], [], 0.2)[0]:
                try:
                    read = os.read(master, 65536)
                except OSError:  # the other end is closed
                    break
                if not read:
                    break
                written += read
            elif process.poll() is not None:
                break
        else:
            raise AssertionError(f"no end within {LIMIT:.0f} s: {written[-500:]!r}")
        process.wait(LIMIT)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return written.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("sql", "SELECT name, k FROM runs ORDER BY name DESC"),
        ("sql", "SELECT name, k FROM runs ORDER BY name DESC", "--format", "markdown"),
        ("sql", f'SELECT 1 AS "{HOSTILE}"'),
        ("sql", f"SELECT '{HOSTILE}' AS a, no_such_column"),
        ("sql", f'DESCRIBE LAW "{HOSTILE}"'),
        ("runs", "--columns", "run_id, name, error"),
        ("logs", HOSTILE),
        ("logs", "failing"),
        ("plot", HOSTILE),
    ],
    ids=["table", "markdown", "header", "duckdb-error", "error", "runs", "logs", "failure", "plot"],
)
def test_nothing_steers_the_terminal(hostile_file: Path, words: tuple[str, ...]) -> None:
    written = on_terminal(*words, "--lake", str(hostile_file))
    assert [raw for raw in RAW if raw in written] == []
    assert SHOWN in written


def test_nothing_typed_or_answered_steers_the_shell(hostile_file: Path) -> None:
    written = on_terminal("shell", "--lake", str(hostile_file), typed="SELECT name FROM runs WHERE k <> '2';\r.quit\r")
    assert [raw for raw in RAW if raw in written and raw not in ("\x08", "\x7f")] == []
    assert SHOWN in written


def test_our_own_colors_survive(hostile_file: Path) -> None:
    written = on_terminal("sql", "SELECT name FROM runs", "--lake", str(hostile_file))
    assert "\x1b[1m" in written  # the heading is bold


async def test_nothing_steers_the_interface(hostile_file: Path) -> None:
    with isoflop.open(hostile_file) as lake:
        app = IsoflopApp(lake)
        async with app.run_test(size=(200, 50)) as pilot:
            await settle(pilot)
            listed = screen_text(app)
            assert r"m\x1b]0;pwned" in listed
            assert steering(listed) == set()
            rows = lake.query("SELECT run_id FROM runs ORDER BY name DESC").to_pylist()
            for row in rows:
                await app.push_screen(RunView(row["run_id"]))
                await settle(pilot)
                opened = screen_text(app)
                assert r"\x1b]0;pwned" in opened
                assert steering(opened) == set()


def steering(text: str) -> set[str]:
    """The characters of a screen that no text may hold."""
    return {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each != "\n"}


def test_what_is_made_for_programs_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(pa.table({"name": [HOSTILE]}))
    show(answer, "json")
    assert json.loads(capsys.readouterr().out) == [{"name": HOSTILE}]
    show(answer, "csv")
    written = capsys.readouterr().out
    assert list(csv.reader(io.StringIO(written, newline=""))) == [["name"], [HOSTILE]]


def test_a_sweep_says_nothing_that_steers() -> None:
    file = io.StringIO()
    event = Event(1, "error", HOSTILE)
    state = SweepState("id", HOSTILE, 2, finished=1, queued=1, seconds=3, events=(event,))
    lines = LineProgress(Console(file=file, width=400))
    lines(state)
    lines.finish()
    Console(file=file, width=400).print(picture(state))
    assert file.getvalue().count(SHOWN) == 3
    assert steering(file.getvalue()) == set()


def test_an_error_points_at_the_place_that_is_shown() -> None:
    assert underline("SELECT '\x1b' , oops", 13, 17) == "LINE 1: SELECT '\\x1b' , oops\n" + " " * 24 + "^^^^"
    assert str(UsageError(f"no {HOSTILE}", hint=HOSTILE)) == f"no {SHOWN}\nHint: {SHOWN}"


def test_columns_of_one_name_stay_apart(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table([[1], [2], [3]], names=["a", "b", "a"])
    show(Answer(table), "csv")
    assert capsys.readouterr().out == "a,b,a_1\n1,2,3\n"
    show(Answer(table), "json")
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": 2, "a_1": 3}]
    show(Answer(table), "markdown")
    assert capsys.readouterr().out == "| a | b | a_1 |\n| --- | --- | --- |\n| 1 | 2 | 3 |\n"
    show(Answer(table), "table")
    assert capsys.readouterr().out.split()[-3:] == ["1", "2", "3"]
    assert Answer(table).rows() == [(1, 2, 3)]


def test_times_of_day_have_json(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    show(
        lakehouse.sql("SELECT TIME '12:34:56' AS t, TIMESTAMP '2026-01-02 03:04:05' AS s, DATE '2026-01-02' AS d"),
        "json",
    )
    said = {"t": "12:34:56", "s": "2026-01-02 03:04:05", "d": "2026-01-02"}
    assert json.loads(capsys.readouterr().out) == [said]


def test_every_character_that_steers_or_hides_is_written_out() -> None:
    signs_that_show = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        hides = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in signs_that_show
        if hides and character not in "\n\t":
            assert visible(character) != character and visible(character).isascii(), hex(code)
        elif unicodedata.category(character) not in ("Cn", "Co"):
            assert visible(character) == character, hex(code)
    assert visible_line("a\nb\tc") == r"a\nb\tc"
