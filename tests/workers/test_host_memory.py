"""Runs that need more memory than there is are refused before anything trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RunFailed
from isoflop.workers.cluster import RaySession, preflight, run_sweep
from isoflop.workers.cluster.capacity import Capacity, Node
from isoflop.workers.cluster.packs import Job
from isoflop.workers.host_memory import host_memory_bytes
from isoflop.workers.sweep import load_sweep

TEXT = """\
name: small
family: transformer
corpus: {source: builtin}
grid: {width: [32, 64], depth: 1, sequence_length: 16, batch_size: 2, validation_tokens: 0, steps: 3}
"""
MIB = 2**20


def jobs_of(folder: Path, *settings: str) -> list[Job]:
    (folder / "s.yaml").write_text(TEXT)
    plan = load_sweep(folder / "s.yaml", settings).expand()
    return [Job(*parts) for parts in zip(plan.runs, plan.records, plan.resources, strict=True)]


def test_the_memory_of_this_machine_is_known() -> None:
    pages = Path("/proc/meminfo")
    most = host_memory_bytes()
    if pages.exists():
        total = int(pages.read_text().split()[1]) * 1024
        assert most is not None and 64 * MIB < most <= total + MIB


def test_a_run_that_is_too_large_is_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, host = jobs_of(tmp_path), Capacity([Node("a", "here", {"CPU": 2})])
    small, large = (job.family.counts().memory_bytes or 0.0 for job in jobs)
    assert 0 < small < large
    monkeypatch.setattr(preflight, "host_memory_bytes", lambda: int(large) - 1)
    with pytest.raises(RunFailed, match=r"run width=64 needs about .* of memory .* there are ") as refused:
        preflight.check_memory(jobs, host, None, force=False)
    assert refused.value.hint and "--force" in refused.value.hint
    assert preflight.check_memory(jobs[:1], host, None, force=False) == []
    [said] = preflight.check_memory(jobs, host, None, force=True)
    assert said.startswith("run width=64 needs about")
    with_gpus = Capacity([Node("a", "here", {"CPU": 2, "GPU": 1})])
    assert preflight.check_memory(jobs, with_gpus, None, force=False) == []  # the memory of the host is not what counts
    monkeypatch.setattr(preflight, "host_memory_bytes", lambda: None)
    assert preflight.check_memory(jobs, host, None, force=False) == []


def test_runs_that_do_not_fit_beside_each_other_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, host = jobs_of(tmp_path, "seeds=2"), Capacity([Node("a", "here", {"CPU": 2})])
    large = max(job.family.counts().memory_bytes or 0.0 for job in jobs)
    monkeypatch.setattr(preflight, "host_memory_bytes", lambda: int(1.5 * large))
    [said] = preflight.check_memory(jobs, host, None, force=False)
    assert said.startswith("memory: 2 runs at once may need ") and "max_concurrent: 1" in said
    assert preflight.check_memory(jobs, host, 1, force=False) == []
    assert preflight.check_memory(jobs, Capacity([Node("a", "here", {"CPU": 1})]), None, force=False) == []


@pytest.mark.cluster
def test_a_sweep_is_refused_before_it_trains_and_forced_all_the_same(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    sweep = load_sweep(tmp_path / "s.yaml", ["grid.width=32"])
    monkeypatch.setattr(preflight, "host_memory_bytes", lambda: 1000)
    with pytest.raises(RunFailed, match="there are 1000 B"):
        run_sweep(lakehouse, sweep, session=ray_session)
    assert lakehouse.query("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": 0}]
    state = run_sweep(lakehouse, sweep, session=ray_session, force=True)
    assert (state.finished, state.exit_code) == (1, 0)
    assert any("there are 1000 B" in event.message for event in state.events)
