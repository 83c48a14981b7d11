"""The scripts of `examples/`, each as its users write it, swept by `isoflop sweep` and fitted."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.workers.cluster import RaySession, run_sweep
from isoflop.workers.cluster.folders import output_folder
from isoflop.workers.sweep import load_sweep
from tests.workers.test_cluster import OnceTraining, processes_training
from tests.workers.test_commands import until

pytestmark = pytest.mark.cluster

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# A single thread each, and the `python` of these tests first, as in an environment that is activated.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(EXAMPLES.parent),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
LAW = "SELECT status, rows FROM (FIT loss ~ power(flops) FROM runs WITH (resamples = 0))"


def isoflop(*words: str, lake: Path) -> Any:
    """Run the command line and return what it answers."""
    done = subprocess.run(
        [sys.executable, "-m", "isoflop", *words, "--lake", str(lake), "--json"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "needs", "settings", "points"),
    [
        ("key_value", "numpy", ["grid.width=[4,8,16,32,64]", "grid.steps=300"], 30),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("nano_gpt", "torch", ["grid.width=[16,32,48,64]", "grid.steps=50"], 10),
                ("hugging_face", "accelerate", ["grid.width=[16,32,48,64]", "grid.steps=40"], 4),
                ("lightning_module", "lightning", ["grid.width=[2,4,8,16]", "grid.steps=300"], 30),
            )
        ),
    ],
)
def test_a_script_is_swept_and_a_law_follows(
    tmp_path: Path, name: str, needs: str, settings: list[str], points: int
) -> None:
    pytest.importorskip(needs, reason="pip install -e '.[exchange-test]' installs it")
    lake = tmp_path / "runs.duckdb"
    replaced = [word for setting in settings for word in ("--set", setting)]
    [swept] = isoflop("sweep", str(EXAMPLES / f"{name}.yaml"), *replaced, lake=lake)
    assert swept["runs"] == swept["finished"] >= 4 and not swept["retried"], swept
    rows = isoflop("sql", "SELECT * EXCLUDE (results) FROM runs ORDER BY params", lake=lake)
    for row in rows:
        assert row["status"] == "finished" and math.isfinite(row["loss"]), row
        assert row["params"] > 0 and row["tokens"] > 0 and row["flops"] > 6 * row["tokens"], row
    assert len({row["params"] for row in rows}) == len({row["flops"] for row in rows}) == len(rows)
    assert rows[-1]["loss"] < rows[0]["loss"]  # the largest model learns more
    [curves] = isoflop(
        "sql", "SELECT min(n) AS fewest, max(n) AS most, max(last) AS last FROM "
        "(SELECT count(loss) AS n, arg_max(loss, step) AS last FROM curves GROUP BY run_id)", lake=lake,
    )  # fmt: skip
    assert (curves["fewest"], curves["most"]) == (points, points) and math.isfinite(curves["last"])
    assert isoflop("sql", LAW, lake=lake) == [{"status": "converged", "rows": len(rows)}]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_script_whose_worker_is_killed_ends_where_it_would_have(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path
) -> None:
    words = f"{sys.executable} nano_gpt.py --width {{width}} --steps {{steps}} --out {{output}}"
    sweep = load_sweep(EXAMPLES / "nano_gpt.yaml", ["grid.width=32", "grid.steps=1000", f"command={words}"])
    [record] = sweep.expand().records
    saved = output_folder(lakehouse) / record.run_id / "checkpoint.pt"

    def kill() -> None:
        assert until(saved.exists)
        time.sleep(2.0)  # points are committed each second
        for pid in processes_training(sweep.name):
            os.kill(pid, signal.SIGKILL)

    watch = OnceTraining(kill)
    state = run_sweep(lakehouse, sweep, session=ray_session, watch=watch)
    assert watch.has_acted and (state.finished, state.retried, state.exit_code) == (1, 1, 0), state
    [first, second] = lakehouse.query("SELECT status, reason, resumed_step FROM attempts ORDER BY attempt").to_pylist()
    assert (first["status"], second["status"]) == ("lost", "finished") and 5 <= second["resumed_step"] < 1000, second
    steps = lakehouse.query("SELECT step FROM curves ORDER BY step")["step"].to_pylist()
    # What was said in the last second before SIGKILL may be missing, and nothing else.
    missing = sorted(set(range(5, 1001, 5)) - set(steps))
    assert steps[0] == 5 and len(set(steps)) == len(steps)
    last = second["resumed_step"] // 5 * 5
    assert missing == list(range(last - 5 * (len(missing) - 1), last + 1, 5))
    undisturbed = subprocess.run(
        [sys.executable, str(EXAMPLES / "nano_gpt.py"), "--width", "32", "--steps", "1000", "--out", str(tmp_path)],
        env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    [row] = lakehouse.query("SELECT loss, params, tokens, flops FROM runs").to_pylist()
    assert {"step": 1000, **row} == json.loads(undisturbed.stdout.splitlines()[-1])


def test_every_example_is_on_the_page_of_scripts() -> None:
    page = (EXAMPLES.parent / "docs" / "your_script.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".yaml"):
            assert f"examples/{path.name}" in page, path.name
