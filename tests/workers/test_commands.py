"""Commands without a cluster: their words, their processes, what they say, and the sweep files that name them."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import isoflop
from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.errors import FileError, RecordError
from isoflop.workers import Outcome, TrainOptions, find_family, train
from isoflop.workers.commands.guard import descendants
from isoflop.workers.commands.process import CommandProcess
from isoflop.workers.commands.saying import MetricsFile, point_of
from isoflop.workers.commands.words import command_text, command_words, filled, places
from isoflop.workers.expansion import SweepPlan, varied
from isoflop.workers.sweep import checked_sweeps, load_sweep
from isoflop.workers.sweep_file import parse_documents

PATIENCE = 60.0  # for what takes a moment, on a machine under load [s]
SWEEP = """\
name: mine
family: command
command: python train.py --width {width} lr={learning_rate} --seed {seed}
grid: {width: [64, 128], learning_rate: [0.01, 0.003]}
given: {flops: 6 * params * tokens, params: 12 * width ** 2 * 4, tokens: 1e6}
seeds: 2
"""


def planned(text: str) -> SweepPlan:
    [sweep] = checked_sweeps(parse_documents(text, "sweep.yaml"))
    return sweep.expand()


def until(is_so: Callable[[], bool]) -> bool:
    """Wait until something is so, and return whether it came to be."""
    end = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# Words


@pytest.mark.parametrize("value", ["a b", "'", '"; rm -rf /; "', "$(reboot)", "", "{width}", "a\nb", "*"])
def test_a_value_is_one_argument_whatever_is_in_it(value: str) -> None:
    code = "import sys, json; print(json.dumps(sys.argv[1:]))"
    text = command_text([sys.executable, "-c", code, "--name", "{name}", "key={name}"])
    words = command_words(text, {"name": value})
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["--name", value, f"key={value}"]


def test_words_travel_through_their_text() -> None:
    for words in (["a", "b c", "it's"], ["{x}", '{"k": 1}', "{{x}}"], ["", "x"][1:], ["--e", ""]):
        assert command_words(command_text(words), {"x": 1}) == [filled(word, {"x": 1}) for word in words]
        assert command_text(command_text(words)) == command_text(words)


@pytest.mark.parametrize("wrong", ["", "   ", "a 'b", [], [""], ["a", None], ["a", True]])
def test_what_is_no_command_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is "):
        command_text(wrong)


def test_numbers_are_arguments_as_argparse_reads_them() -> None:
    assert command_words("{a} {b} {c} {d}", {"a": 1e6, "b": 3e-5, "c": False, "d": [1, 2]}) == [
        "1000000", "3e-05", "false", "[1,2]",
    ]  # fmt: skip
    assert list(places("{a} {{b}} {1} {} {c.d} {e f}")) == ["a"]


# Sweep files


def test_a_sweep_of_a_script_is_planned() -> None:
    plan = planned(SWEEP)
    assert len(plan) == 8 and plan.notes == ()
    assert {record.run_id for record in plan.records} == {run.record().run_id for run in plan.runs}
    first = plan.records[0]
    assert first.config == {
        "command": "python train.py --width {width} lr={learning_rate} --seed {seed}", "width": 64,
        "learning_rate": 0.01,
    }  # fmt: skip
    params = 12 * 64**2 * 4
    assert (first.params, first.tokens, first.flops) == (params, 1e6, 6 * params * 1e6)
    assert varied(plan.records) == ["width", "learning_rate", "seed"]


def test_the_identity_is_the_command_and_its_settings() -> None:
    first = planned(SWEEP).records[0].run_id
    same = planned(
        SWEEP.replace("python train.py --width {width} lr={learning_rate} --seed {seed}",
                      "[python, train.py, --width, '{width}', 'lr={learning_rate}', --seed, '{seed}']")
        .replace("6 * params", "2 * params") + "loss_unit: nat/token\nmetrics: m.jsonl\n"
    )  # fmt: skip
    assert same.records[0].run_id == first
    assert same.records[0].extra == {"loss_unit": "nat/token", "metrics_file": "m.jsonl"}
    for old, new in (
        ("train.py", "other.py"),
        ("width: [64", "width: [65"),
        ("0.01", "0.02"),
        ("grid: {", "grid: {a: 1, "),
    ):
        assert planned(SWEEP.replace(old, new)).records[0].run_id != first, new


def test_settings_called_as_counts_are_counts() -> None:
    [record] = planned("name: a\nfamily: command\ncommand: run {params}\ngrid: {params: 1e6, steps: 10}").records
    assert (record.params, record.steps, record.flops) == (1e6, 10, None)


def test_derived_values_are_settings_and_may_read_what_is_given() -> None:
    text = "name: a\nfamily: command\ncommand: run {tokens} {width}\ngrid: {width: 8, budget: 6e6}\n"
    [record] = planned(text + "derive: {tokens: budget / (6 * params)}\ngiven: {params: 12 * width ** 2}").records
    assert record.config["tokens"] == record.tokens == 1e6 / (12 * 64)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{width}", "{widht}", "sweep.yaml:3: 'command' has {widht}, which is no setting; did you mean {width}?"),
        ("--seed {seed}", "--seed 'x", "sweep.yaml:3: 'command' is no list of words: no closing quotation"),
        ("grid: {", "grid: {config: 1, ", "sweep.yaml:4: 'config' is no name for a setting"),
        ("grid: {", "grid: {Width: 1, ", "the settings 'Width' and 'width' differ only in case"),
        ("given: {", "given: {prams: 1, ", "sweep.yaml:5: 'prams' is no count\nHint: did you mean 'params'?"),
        ("given: {", "given: {steps: 0 - width, ", "'0 - width' is -64; expected a finite number"),
        ("tokens: 1e6", "tokens: flops / 6", "'flops' needs itself: flops -> tokens -> flops"),
        ("params: 12 * width", "params: 12 * depth", "sweep.yaml:5: unknown name 'depth' in '12 * depth ** 2 * 4'"),
        ("grid: {", "grid: {tokens: 5, ", "'tokens' is set in grid"),
        ("family: command", "family: command\nentry: a:b", "'command' or entry is needed, and not both"),
        ("command: python", "entry: python", "'entry' is 'python train.py"),
        ("seeds: 2", "metrics: '{out}/m'", "sweep.yaml:6: 'metrics_file' has {out}, which is no setting"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_at_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(FileError) as caught:
        planned(SWEEP.replace(old, new, 1))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("command: run", "sweep.yaml:4: the family 'plrf' has no command"),
        ("given: {params: 1}", "sweep.yaml:4: the family 'plrf' counts what its runs cost itself"),
    ],
)
def test_other_families_have_no_command(line: str, problem: str) -> None:
    grid = "grid: {width: 8, spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100}"
    with pytest.raises(FileError, match=problem):
        planned(f"name: a\nfamily: plrf\n{grid}\n{line}\n")


def test_a_setting_that_the_command_does_not_use_is_noted() -> None:
    text = "name: a\nfamily: command\ncommand: run {width}\ngrid: {width: [1, 2], depth: 2, c: 3}\nseeds: 2\n"
    [note] = planned(text + "given: {params: c}").notes
    assert note.startswith("unused setting: the command does not use 'depth', 'seed'; runs that differ")
    assert planned(text.replace("run {width}", "run {config}")).notes == ()
    assert planned(text.replace("command: run {width}", "entry: a:b")).notes == ()


# What a script says


def test_points_are_objects_with_a_whole_step_and_a_number() -> None:
    assert point_of({"iter": 4.0, "val_loss": 2, "ok": True, "seconds": 1.5}) == (4, 1.5, {"validation_loss": 2.0})
    assert point_of({"step": 1, "loss": 2.0, "train/loss": 3.0}) == (1, None, {"loss": 2.0, "train/loss": 3.0})
    for line in (
        {"loss": 1.0},
        {"step": 1},
        {"step": 1.5, "loss": 1},
        {"step": True, "loss": 1},
        {"step": 1, "a": "b"},
    ):
        assert point_of(line) is None, line


def test_a_metrics_file_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    assert list(file.points()) == [] and not file.was_there
    with path.open("w") as out:
        out.write('{"step": 1, "loss": 3.0}\n{"step": 2, "lo')
        out.flush()
        assert list(file.points()) == [(1, None, {"loss": 3.0})]
        out.write('ss": NaN}\nnot json\n{"step": 3, "loss": 1.0}')
        out.flush()
        [(step, _, values)] = file.points()
        assert step == 2 and math.isnan(values["loss"])
    assert list(file.points()) == [] and list(file.points(is_last=True)) == [(3, None, {"loss": 1.0})]
    assert file.passed_over == 1
    path.write_text('{"step": 9, "loss": 0.5}\n')  # shorter: it was begun again
    assert list(file.points()) == [(9, None, {"loss": 0.5})]


def test_a_csv_with_a_heading_goes_on_after_what_an_earlier_attempt_wrote(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text('step,train_loss,"a, b"\n1,2.5,x\n')
    assert list(MetricsFile(path).points()) == [(1, None, {"loss": 2.5})]
    file = MetricsFile(path, from_end=True)
    with path.open("a") as out:
        out.write("2,1e-1,7\n")
    assert list(file.points()) == [(2, None, {"loss": 0.1, "a, b": 7.0})]


# Processes


def started(tmp_path: Path, code: str, grace: float = 30.0) -> tuple[CommandProcess, list[tuple[str, str]]]:
    lines: list[tuple[str, str]] = []
    process = CommandProcess(
        [sys.executable, "-c", code], folder=tmp_path, environment=dict(os.environ),
        on_line=lambda stream, text: lines.append((stream, text)), grace_seconds=grace,
    )  # fmt: skip
    return process, lines


def over(process: CommandProcess) -> bool:
    return until(lambda: process.wait(0.1))


def test_lines_and_exit_codes_arrive(tmp_path: Path) -> None:
    code = "import sys; print('out\\n\\n10%\\r20%'); sys.stderr.write('err'); sys.exit(3)"
    process, lines = started(tmp_path, code)
    assert over(process) and (process.exit_code, process.error) == (3, None)
    assert sorted(lines) == [("stderr", "err"), ("stdout", "20%"), ("stdout", "out")]
    process, _ = started(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert over(process) and process.exit_code == -signal.SIGKILL


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    process = CommandProcess(
        ["no-such-program"], folder=tmp_path, environment=dict(os.environ), on_line=print, grace_seconds=1
    )
    assert over(process) and process.error == "no-such-program: No such file or directory"


# A child in a session of its own, which nobody would find by its group, and a parent that says its number.
FAMILY_OF_PROCESSES = """
import signal, subprocess, sys, time
{handler}
child = subprocess.Popen([sys.executable, "-c", "{child}"], start_new_session=True)
print(child.pid, flush=True)
time.sleep({seconds})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("seconds", [0, 600])
def test_nothing_that_a_command_started_outlives_it(tmp_path: Path, seconds: int) -> None:
    code = FAMILY_OF_PROCESSES.format(handler="", child="import time; time.sleep(600)", seconds=seconds)
    process, lines = started(tmp_path, code)
    assert until(lambda: bool(lines))
    if seconds:
        assert is_alive(int(lines[0][1]))
        process.stop()
    assert over(process) and process.exit_code == (-signal.SIGTERM if seconds else 0)
    assert not is_alive(int(lines[0][1]))


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_what_does_not_hear_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    code = FAMILY_OF_PROCESSES.format(handler="signal.signal(15, signal.SIG_IGN)", child=deaf, seconds=600)
    process, lines = started(tmp_path, code, grace=1.0)
    assert until(lambda: bool(lines))
    began = time.monotonic()
    process.stop()
    assert over(process) and process.exit_code == -signal.SIGKILL
    assert time.monotonic() - began >= 1.0
    assert not is_alive(int(lines[0][1]))


def test_a_script_that_hears_sigterm_has_the_grace_to_save(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def save(*_):\n    time.sleep(0.5); open('saved', 'w').close(); sys.exit(7)\n"
        "signal.signal(15, save)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    process, lines = started(tmp_path, code)
    assert until(lambda: bool(lines))
    process.close()
    assert process.exit_code == 7 and (tmp_path / "saved").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_worker_leaves_no_orphan(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from isoflop.workers.commands.process import CommandProcess
code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
CommandProcess([sys.executable, "-c", code], folder=Path({str(tmp_path)!r}), environment=dict(os.environ),
               on_line=lambda stream, text: print(text, flush=True), grace_seconds=5)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert is_alive(pid) and pid not in descendants(worker.pid), "Ray would kill the guard with the worker"
        worker.kill()
    assert until(lambda: not is_alive(pid))


# One attempt


def trained(folder: Path, config: Mapping[str, object], **options: Any) -> tuple[Outcome, Lakehouse]:
    """Run a command once, into a lake in the folder."""
    run = find_family("command").parse(config)
    run_id = run.record().run_id
    lake = Lakehouse(folder / "r.duckdb")
    lake.record_runs([run.record()])
    attempt = lake.begin_attempts([run_id], "test")[run_id]
    given = {"device": "cpu", "threads": 3, "folder": folder, "checkpoint_folder": folder / "kept", **options}
    with Spool(lake.spool_folder, run_id, attempt) as spool:
        outcome = train(run, spool, options=TrainOptions(**given))
    lake.drain()
    return outcome, lake


def test_a_run_is_given_its_settings_threads_devices_and_folder(tmp_path: Path) -> None:
    code = (
        "import json, os, sys; c = json.load(open(sys.argv[1]));"
        "print(c['width'], c['seed'], os.environ['OMP_NUM_THREADS'], repr(os.environ['CUDA_VISIBLE_DEVICES']),"
        "os.environ['ISOFLOP_ATTEMPT'], os.getcwd(), os.path.isdir(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, "{config}", "{output}"]
    outcome, lake = trained(tmp_path, {"command": command, "width": 8, "seed": 5})
    with lake:
        said = lake.query("SELECT message FROM logs WHERE level = 'info'").to_pylist()
        assert said == [{"message": f"8 5 3 '' 1 {tmp_path} True"}]
        assert lake.query("SELECT message FROM logs WHERE level = 'warning'").to_pylist() == [
            {"message": "no loss: the script has logged none"}
        ]
    assert (outcome.status, outcome.loss) == ("finished", None)
    assert list((tmp_path / "kept.outputs").iterdir()) == []


def test_a_run_with_a_gpu_sees_those_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    command = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]
    _, lake = trained(tmp_path, {"command": command}, device="auto")
    with lake:
        assert lake.query("SELECT message FROM logs WHERE level = 'info'")["message"].to_pylist() == ["3"]
        assert lake.query("SELECT device FROM attempts")["device"].to_pylist() == ["cuda"]


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        ("import sys; print('a'); sys.stderr.write('what\\nbad'); sys.exit(2)", "crash", "exit code 2: bad\nwhat\nbad"),
        ("raise MemoryError('much')", "out_of_memory", "MemoryError: much"),
        ('print(\'{"step": 1, "loss": NaN}\')', "diverged", "the last loss is nan"),
        ("import os; os.kill(os.getpid(), 11)", "crash", "ended by SIGSEGV"),
    ],
)
def test_a_failure_says_what_it_was(tmp_path: Path, code: str, reason: str, error: str) -> None:
    outcome, lake = trained(tmp_path, {"command": [sys.executable, "-c", code]})
    with lake:
        [row] = lake.query("SELECT status, reason, error FROM attempts").to_pylist()
    assert (row["status"], row["reason"]) == (outcome.status, outcome.reason) == ("failed", reason)
    assert error in row["error"] and outcome.error == row["error"]


def test_a_script_joins_its_run_and_makes_no_second(tmp_path: Path) -> None:
    code = """
import isoflop
with isoflop.run("mine", {"width": 1}, params="7K") as run:
    assert run.config["width"] == 8 and run.seed == 5 and run.attempt == 1
    run.note("hello")
    for step in range(3):
        isoflop.log(step=step, loss=1 / (step + 1), tokens=100 * (step + 1))
    run.summary(flops=5e6, color="blue")
"""
    outcome, lake = trained(tmp_path, {"command": [sys.executable, "-c", code], "width": 8, "seed": 5})
    with lake:
        [row] = lake.query(
            "SELECT loss, params, tokens, flops, results->>'color' AS color, width FROM runs"
        ).to_pylist()
        assert row == {"loss": 1 / 3, "params": 7000, "tokens": 300, "flops": 5e6, "color": "blue", "width": 8}
        assert lake.query("SELECT step FROM curves ORDER BY step")["step"].to_pylist() == [0, 1, 2]
        assert lake.query("SELECT message FROM logs")["message"].to_pylist() == ["hello"]
    assert outcome.loss == 1 / 3


def test_a_sweep_goes_on_whatever_the_script_says_of_resuming(tmp_path: Path) -> None:
    code = "import isoflop\nwith isoflop.run('x', resume=True) as run:\n    run.log(step=1, loss=2.0)"
    outcome, lake = trained(tmp_path, {"command": [sys.executable, "-c", code]})
    lake.close()
    assert outcome.loss == 2.0, outcome.error


def test_a_missing_module_says_which_python_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "bin" / "python"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    outcome, lake = trained(tmp_path, {"command": "python train.py"})
    lake.close()
    assert outcome.error and outcome.error.splitlines() == [
        "exit code 1: ModuleNotFoundError: No module named 'torch'",
        f"'python' is {other}; activate the environment of the script, or write {sys.executable}",
    ]


def test_an_exception_within_the_run_is_its_error(tmp_path: Path) -> None:
    code = "import isoflop\nwith isoflop.run() as run:\n    run.log(step=1, loss=2.0)\n    raise ValueError('no')"
    _, lake = trained(tmp_path, {"command": [sys.executable, "-c", code]})
    with lake:
        [row] = lake.query("SELECT error, traceback, (SELECT count(*) FROM curves) AS n FROM attempts").to_pylist()
    assert row["error"] == "ValueError: no" and "line 4" in row["traceback"] and row["n"] == 1


def test_the_same_script_by_hand_records_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOFLOP_LAKE", str(tmp_path / "own.duckdb"))
    with isoflop.run("mine", {"width": 64}, params=1e6) as run:
        assert run.config == {"width": 64} and run.seed == 0
        assert run.output.parent == tmp_path / "own.duckdb.outputs" and run.output.is_dir()
        isoflop.log(step=1, loss=2.5)
    with isoflop.run("mine", {"width": 64}, params=1e6, resume=True):
        isoflop.log(step=2, loss=2.5)
    with Lakehouse(tmp_path / "own.duckdb") as lake:
        assert lake.query("SELECT family, width, params, loss FROM runs").to_pylist() == [
            {"family": "mine", "width": 64, "params": 1e6, "loss": 2.5}
        ]
        assert lake.query("SELECT step FROM curves ORDER BY step")["step"].to_pylist() == [1, 2]
    isoflop._runs.clear()
    with pytest.raises(RecordError, match=r"log\(\) has no run"):
        isoflop.log(step=1, loss=2.5)


def test_the_folder_of_a_sweep_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    assert load_sweep(tmp_path / "sweep.yaml").folder == tmp_path
    [sweep] = checked_sweeps(parse_documents(SWEEP))
    assert sweep.folder == Path.cwd()
