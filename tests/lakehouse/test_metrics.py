"""Which value of a metric is its best one, by its name and by what people say."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.maintenance import drop_old_attempts, find_problems, thin_curves
from isoflop.lakehouse.runs.metrics import Directed, directions, is_highest_by_name, set_direction

STORES = Path(__file__).parent.parent / "fixtures" / "stores"

HIGHEST = """
    Accuracy AUROC auc recall precision f1 F1Score macro_f1 exact_match acc_norm acc_norm,none eval/mmlu_acc_norm mfu
    tokens_per_second tokensPerSecond samples/sec it/s tok/s/gpu steps_per_sec throughput acc@1 pass@k pass@10 top5
    top_1 accuracy_top5 evalAccuracy EM bleu rougeL rouge1 meteor chrf++ reward mean_reward return episode_return score
    win_rate winrate eval/win success_rate psnr SSIM IoU mIoU dice mAP mAP50 ndcg@10 hits@10 mrr r2 R2 elbo
    log_likelihood logprob neg_mean_squared_error true_negative_rate
""".split()
LOWEST = """
    loss train/loss error perplexity regret latency seconds score_loss ScoreLoss accLoss accuracy_error scoreError
    reward_loss top1_error map_loss validation_loss lr grad_norm step_time seconds_per_step errors_per_second
    time_to_accuracy neg_log_likelihood negative_log_likelihood neg_sampling_loss nll bpb acc_stderr reward_std
    false_negative_rate tokens flops kl wer eval/ppl vaccine repass accelerate gradient x
""".split()


def curve(lake: Lakehouse, values: dict[str, list[float]], attempt: int = 1, **config: object) -> RunRecord:
    run = RunRecord(family="mine", config=config)
    lake.record_runs([run])
    with Spool(lake.spool_folder, run.run_id, attempt) as spool:
        spool.started(host="here", device="cpu")
        for step in range(max(map(len, values.values()))):
            spool.log(step, **{name: numbers[step] for name, numbers in values.items() if step < len(numbers)})
        spool.ended("finished")
    lake.drain()
    return run


def best(lake: Lakehouse, metric: str = "reward") -> list[tuple[float | None, int | None]]:
    rows = lake.query("SELECT best, best_step FROM finals WHERE metric = ? ORDER BY run_id, attempt", [metric])
    return [(row["best"], row["best_step"]) for row in rows.to_pylist()]


def test_the_name_of_a_metric_says_which_way_is_better() -> None:
    names = [*HIGHEST, *LOWEST]
    rows = duckdb.execute(
        f"SELECT metric, {is_highest_by_name()} FROM (SELECT unnest(?) AS metric)", [names]
    ).fetchall()
    assert [name for name, is_highest in rows if is_highest] == HIGHEST


def test_the_best_of_a_metric_follows_its_name_in_finals_and_in_the_check(lakehouse: Lakehouse) -> None:
    run = curve(lakehouse, {"Accuracy": [0.1, math.nan, 0.9, 0.5], "score_loss": [3.0, 1.0, 2.0]})
    assert best(lakehouse, "Accuracy") == [(0.9, 2)] and best(lakehouse, "score_loss") == [(1.0, 1)]
    assert find_problems(lakehouse).records() == []
    lakehouse.write([("UPDATE store.finals SET best = 0.1 WHERE metric = 'Accuracy'", None)])
    (problem,) = find_problems(lakehouse).records()
    assert (problem["kind"], problem["subject"]) == ("finals disagree", f"{run.run_id}/1 Accuracy")


@pytest.mark.slow
def test_people_say_which_way_is_better_and_every_best_follows(address: str) -> None:
    with Lakehouse(address) as lake:
        curve(lake, {"elbow": [3.0, 9.0, 5.0], "reward": [3.0, 9.0, 5.0]})
        assert (best(lake, "elbow"), best(lake)) == ([(3.0, 0)], [(9.0, 1)])
        assert set_direction(lake, "elbow", "highest") == Directed("elbow", "highest", 1, 0, 0)
        assert set_direction(lake, "reward", "lowest") == Directed("reward", "lowest", 1, 0, 0)
        assert (best(lake, "elbow"), best(lake)) == ([(9.0, 1)], [(3.0, 0)])
        curve(lake, {"elbow": [4.0, 10.0], "reward": [4.0, 2.0]}, again=True)
        assert sorted(best(lake, "elbow")) == [(9.0, 1), (10.0, 1)] and sorted(best(lake)) == [(2.0, 1), (3.0, 0)]
        assert find_problems(lake).records() == []
        assert directions(lake).records() == [
            {"metric": "elbow", "best": "highest"}, {"metric": "reward", "best": "lowest"},
        ]  # fmt: skip
        assert directions(lake, "Accuracy").records() == [{"metric": "Accuracy", "best": "highest", "is_chosen": False}]
        set_direction(lake, "reward", "highest")
        assert sorted(best(lake)) == [(4.0, 0), (9.0, 1)]
        assert len(directions(lake)) == 2


def test_what_thinning_took_is_kept_where_the_direction_stays_and_said_where_it_turns(lakehouse: Lakehouse) -> None:
    values = [float(step) for step in range(100)]
    values[50], values[51] = 1000.0, -1000.0
    run = curve(lakehouse, {"reward": values})
    thin_curves(lakehouse, "true", 5)
    steps = lakehouse.query("SELECT step FROM metrics")["step"].to_pylist()
    assert not {50, 51} & set(steps)
    assert set_direction(lakehouse, "reward", "highest") == Directed("reward", "highest", 1, 0, 0)
    assert best(lakehouse) == [(1000.0, 50)]
    assert set_direction(lakehouse, "reward", "lowest") == Directed("reward", "lowest", 1, 1, 0)
    assert best(lakehouse) == [(0.0, 0)]
    assert find_problems(lakehouse).records() == []
    curve(lakehouse, {"reward": [7.0]}, attempt=2)
    drop_old_attempts(lakehouse, "true")
    assert set_direction(lakehouse, "reward", "highest") == Directed("reward", "highest", 2, 0, 1)
    assert best(lakehouse) == [(None, None), (7.0, 0)]
    assert run.run_id in lakehouse.query("SELECT run_id FROM runs")["run_id"].to_pylist()


@pytest.mark.parametrize(("given", "hint"), [("higest", "highest"), ("max", "highest"), ("lower", "lowest")])
def test_a_direction_that_is_none_is_refused_with_the_one_that_was_meant(
    lakehouse: Lakehouse, given: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=f"best is '{given}'; expected 'highest' or 'lowest'") as caught:
        set_direction(lakehouse, "reward", given)
    assert caught.value.hint == f"did you mean '{hint}'?"
    with pytest.raises(UsageError, match="a metric is named ''"):
        set_direction(lakehouse, "", "highest")
    assert len(directions(lakehouse)) == 0


@pytest.mark.slow
def test_the_command_line_chooses_lists_and_corrects(tmp_path: Path) -> None:
    address = str(tmp_path / "lake.duckdb")
    with Lakehouse(address) as lake:
        curve(lake, {"comfort": [1.0, 2.0]})

    def isoflop(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "isoflop", "lake", "metric", *words, "--lake", address]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    done = isoflop("comfort", "--best", "highest")
    assert (done.returncode, done.stderr) == (0, "the best comfort is the highest, in 1 attempt\n")
    assert "did you mean 'comfort'?" in isoflop("confort", "--best", "highest").stderr
    listed = json.loads(isoflop("--json").stdout)
    assert listed == [{"metric": "comfort", "best": "highest"}, {"metric": "confort", "best": "highest"}]
    wrong = isoflop("comfort", "--best", "hihgest")
    assert wrong.returncode == 2 and "did you mean 'highest'?" in wrong.stderr and "Traceback" not in wrong.stderr
    assert isoflop("--best", "highest").returncode == 2
    with Lakehouse(address) as lake:
        assert best(lake, "comfort") == [(2.0, 1)]


@pytest.mark.parametrize("version", [2, 3])
def test_an_older_lake_has_its_bests_found_anew(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.duckdb"
    path.write_bytes(gzip.decompress((STORES / f"schema-{version}.store.gz").read_bytes()))
    with duckdb.connect(str(path)) as con:
        con.execute(
            "INSERT INTO store.metrics (run_id, attempt, metric, step, value) "
            "SELECT run_id, attempt, unnest(['AUROC', 'loss_score', 'accuracy']), unnest([1, 1, 1]), 0.5 "
            "FROM store.attempts UNION ALL "
            "SELECT run_id, attempt, unnest(['AUROC', 'loss_score', 'accuracy']), unnest([2, 2, 2]), 0.75 "
            "FROM store.attempts"
        )
        con.execute(
            "INSERT INTO store.finals BY NAME SELECT run_id, attempt, metric, 0.75 AS last, 2 AS last_step, "
            "2 AS count, "
            "CASE metric WHEN 'AUROC' THEN 0.5 WHEN 'accuracy' THEN 0.875 ELSE 0.75 END AS best, "
            "CASE metric WHEN 'AUROC' THEN 1 ELSE 2 END AS best_step FROM "
            "(SELECT run_id, attempt, unnest(['AUROC', 'loss_score', 'accuracy']) AS metric FROM store.attempts)"
        )
    with Lakehouse(path) as lake:
        assert set(best(lake, "AUROC")) == {(0.75, 2)}
        assert set(best(lake, "loss_score")) == {(0.5, 1)}
        assert set(best(lake, "accuracy")) == {(0.875, 2)}  # its best point was thinned out
