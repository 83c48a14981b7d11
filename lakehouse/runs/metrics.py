"""Which value of a metric is its best one: the lowest, unless its name or its users say the highest.

There is one definition, an SQL expression, for those who fold points into `finals`, who check them and who ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.errors import UsageError, nearest
from isoflop.lakehouse.schema.views import VALUE

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.backends.backend import Database, Statement

BEST = ("highest", "lowest")
MEANT = {
    "max": "highest",
    "maximum": "highest",
    "up": "highest",
    "min": "lowest",
    "minimum": "lowest",
    "down": "lowest",
}

# Words of a name, in regular expressions. What costs is better when it is less, whatever else the name says.
COSTS = (
    "loss(es)?", "n?nlls?", "errors?", "err", "mse", "rmse", "mae", "mape", "perplexity", "ppl", "regret", "latency",
    "seconds?", "secs?", "ms", "time", "duration", "cost", "distance", "divergence", "kl", "wer", "cer", "fid", "brier",
    "ece", "entropy", "bpb", "bpc", "bits", "penalty", "violations?", "false", "failures?", "toxicity", "memory",
    "bytes", "miss(es|ed)?", "gap", "std", "stdev", "stderr",
)  # fmt: skip
GAINS = (
    "accurac(y|ies)", "acc", "auc", "auroc", "auprc", "aupr", "recall", "precision", "sensitivity", "specificity",
    "f [0-9]", "f ?(score|beta|measure)", "exact match", "em", "match", "matches", "mfu", "hfu", "utilization",
    "throughput", "goodput", "speed", "speedup", "tflops", "fps", "tps", "qps", "bleu", "sacrebleu", "rouge", "meteor",
    "chrf", "cider", "comet", "bertscore", "rewards?", "returns?", "scores?", "wins?", "winrate", "success(es)?",
    "psnr", "ssim", "snr", "m?iou", "(m )?io u", "dice", "m?ap", "m ap", "ndcg", "mrr", "hits?", "r 2", "r ?squared",
    "explained variance", "elbo", "(log ?)?likelihood", "log ?probs?", "correct", "solved", "pass", "top ([0-9]+|k)",
    "elo", "kappa", "mcc", "true (positive|negative)", "correlation", "pearson", "spearman", "kendall", "agreement",
    "similarity",
)  # fmt: skip
# `tokens_per_second`, and `it/s` where `/s` ends a part of the name.
RATES = "per (s|secs?|seconds?|min|minutes?|hours?|days?)"
NEGATED = "neg(ative)? (log|mean|median|max|root|[mr]m?[as]e|elbo|brier|loss|rewards?|returns?)"
MOST_NAMES = 100_000  # whose directions a process remembers

_by_name: dict[str, bool] = {}


def _words(metric: str) -> str:
    """Return the SQL of a name as its words, lower case, one space between: `eval/topKAcc@5` is `eval top k acc 5`."""
    steps = (
        (r"/(s|sec|second)($|/)", r" per second\2"),
        (r"([a-z])([A-Z])", r"\1 \2"),
        (r"([A-Z])([A-Z][a-z])", r"\1 \2"),
        (r"([A-Za-z])([0-9])", r"\1 \2"),
        (r"([0-9])([A-Za-z])", r"\1 \2"),
        (r"[^A-Za-z0-9]+", " "),
    )
    for pattern, instead in steps:
        metric = f"regexp_replace({metric}, '{pattern}', '{instead}', 'g')"
    return f"lower({metric})"


def _has(words: str, *patterns: str) -> str:
    return rf"regexp_matches({words}, '\b({'|'.join(patterns)})\b')"


def is_highest_by_name(metric: str = "metric") -> str:
    """Return the SQL of whether the largest value is the best one, as the name of a metric says it."""
    words = _words(metric)
    rest = rf"regexp_replace({words}, '\b{RATES}\b', '', 'g')"
    is_gain = f"(NOT {_has(rest, *COSTS)} AND ({_has(words, *GAINS)} OR {_has(words, RATES)}))"
    return f"({is_gain} <> {_has(words, NEGATED)})"


def is_said(metric: str = "metric") -> str:
    """Return the SQL of whether a user, or a word in the name of a metric, says which of its values is the best."""
    words = _words(metric)
    return (
        f"({metric} IN (SELECT metric FROM store.metric_directions) OR {_has(words, *COSTS)} OR {_has(words, *GAINS)} "
        f"OR {_has(words, RATES)})"
    )


def is_highest(metric: str = "metric") -> str:
    """Return the SQL of whether the largest value of a metric is its best one: as users have said, else by its name.

    Parameters
    ----------
    metric : the column, or an expression, that holds the name; a column is better named with its table
    """
    chosen = f"{metric} IN (SELECT metric FROM store.metric_directions WHERE best = '{{}}')"
    return (
        f"CASE WHEN {chosen.format('highest')} THEN true WHEN {chosen.format('lowest')} THEN false "
        f"ELSE {is_highest_by_name(metric)} END"
    )


def highest_of(con: duckdb.DuckDBPyConnection, metrics: Sequence[str]) -> list[str]:
    """Return those of some metrics whose best value is their largest; each name is looked into once in a process."""
    if len(_by_name) > MOST_NAMES:
        _by_name.clear()
    if unknown := [metric for metric in metrics if metric not in _by_name]:
        found = con.execute(
            f"SELECT metric, {is_highest_by_name()} FROM (SELECT unnest(?::VARCHAR[]) AS metric)", [unknown]
        )
        _by_name.update(dict(found.fetchall()))
    chosen = dict(con.execute("SELECT metric, best = 'highest' FROM store.metric_directions").fetchall())
    return [metric for metric in metrics if chosen.get(metric, _by_name[metric])]


def recomputed(chosen: str, was_highest: str) -> str:
    """Return the statement that finds the best values of metrics anew, from the points that are stored.

    Where the direction is what it was, a best that thinning has taken from the points stays. Where it has
    changed, it is the best of the points that are left, and NULL where there are none.

    Parameters
    ----------
    chosen : SQL over the column `metric`, of which metrics
    was_highest : SQL over the column `metric`, whether the best was the largest value so far
    """
    return f"""
        UPDATE store.finals SET best = n.best, best_step = n.best_step FROM (
            SELECT run_id, attempt, metric,
                   CASE WHEN is_highest THEN greatest(known, highest) ELSE least(known, lowest) END AS best,
                   CASE WHEN known >= highest AND is_highest OR known <= lowest AND NOT is_highest
                             OR highest IS NULL AND known IS NOT NULL THEN best_step
                        WHEN is_highest THEN highest_step ELSE lowest_step END AS best_step
            FROM (SELECT f.*, CASE WHEN is_highest = was_highest THEN best END AS known,
                         s.* EXCLUDE (run_id, attempt, metric)
                  FROM (SELECT run_id, attempt, metric, best, best_step, {is_highest()} AS is_highest,
                               ({was_highest}) AS was_highest FROM store.finals WHERE {chosen}) f
                  LEFT JOIN ({_extremes(chosen)}) s
                  ON s.run_id = f.run_id AND s.attempt = f.attempt AND s.metric = f.metric)
        ) n WHERE finals.run_id = n.run_id AND finals.attempt = n.attempt AND finals.metric = n.metric"""


def _extremes(chosen: str) -> str:
    return f"""
        SELECT run_id, attempt, metric, max(v) AS highest, arg_max(step, v) AS highest_step,
               min(v) AS lowest, arg_min(step, v) AS lowest_step
        FROM (SELECT run_id, attempt, metric, step, {VALUE} AS v FROM store.metrics WHERE {chosen})
        WHERE NOT isnan(v) GROUP BY ALL"""


@dataclass(frozen=True)
class Directed:
    """What choosing a direction did.

    Parameters
    ----------
    finals : how many attempts have logged the metric
    of_the_rest : how many of them have lost points to thinning, so that their best is that of the points left
    unknown : how many have no points any more, so that their best is not known
    near_miss : what to add where no run has logged the metric: the nearest name
    """

    metric: str
    best: str
    finals: int
    of_the_rest: int
    unknown: int
    near_miss: str = ""


def directions(database: Database, metric: str | None = None) -> Answer:
    """Return the directions that users have chosen, or that of one metric and where it is from."""
    if metric is None:
        statement = "SELECT metric, best FROM store.metric_directions ORDER BY metric"
        return Answer(database.query(statement), statement=statement)
    statement = f"""
        SELECT m.metric, CASE WHEN {is_highest("m.metric")} THEN 'highest' ELSE 'lowest' END AS best,
               m.metric IN (SELECT metric FROM store.metric_directions) AS is_chosen
        FROM (SELECT ?::VARCHAR AS metric) m"""
    known = database.query("SELECT DISTINCT metric FROM store.finals")["metric"].to_pylist()
    notes = () if metric in known else (f"no run has logged '{metric}' yet{_near_miss(metric, known)}",)
    return Answer(database.query(statement, [metric]), statement=statement, notes=notes)


def _near_miss(metric: str, known: Sequence[str]) -> str:
    """Return what to add where no run has logged a metric: the nearest name, if one is near."""
    near = nearest(metric, known)
    return "" if near is None else f"; did you mean '{near}'?"


def set_direction(database: Database, metric: str, best: str | None) -> Directed:
    """Say which value of a metric is its best one, or that its name says it, and find its attempts' best values anew.

    Raises
    ------
    UsageError : if `best` is neither 'highest' nor 'lowest' nor None, or the metric has no name
    """
    if best is not None and best not in BEST:
        meant = MEANT.get(str(best).lower()) or nearest(str(best), BEST)
        raise UsageError(
            f"best is {best!r}; expected 'highest' or 'lowest'", hint=f"did you mean '{meant}'?" if meant else None
        )
    if not isinstance(metric, str) or not metric:
        raise UsageError(f"a metric is named {metric!r}; expected text", hint="for example 'reward'")
    chosen, is_chosen = "metric = $metric", best is not None
    if best is None:
        asked = f"SELECT {is_highest_by_name()} AS is_highest FROM (SELECT ?::VARCHAR AS metric)"
        best = "highest" if database.query(asked, [metric])["is_highest"][0].as_py() else "lowest"
    (before,) = database.query(
        "SELECT count(*) AS finals, any_value(was) AS was, "
        "count(*) FILTER (was <> $now AND lowest IS NULL AND best IS NOT NULL) AS unknown, "
        "count(*) FILTER (was <> $now AND CASE WHEN was THEN highest < best ELSE lowest > best END) AS of_the_rest "
        f"FROM (SELECT run_id, attempt, metric, best, {is_highest()} AS was FROM store.finals WHERE {chosen}) f "
        f"LEFT JOIN ({_extremes(chosen)}) s USING (run_id, attempt, metric)",
        {"metric": metric, "now": best == "highest"},
    ).to_pylist()
    was = "false" if not before["was"] else "true"
    keep: list[Statement] = [("INSERT INTO store.metric_directions (metric, best) VALUES (?, ?)", [metric, best])]
    database.write(
        [
            ("DELETE FROM store.metric_directions WHERE metric = $metric", {"metric": metric}),
            *(keep if is_chosen else []),
            (recomputed(chosen, was), {"metric": metric}),
        ]
    )
    near = ""
    if not before["finals"]:
        near = _near_miss(metric, database.query("SELECT DISTINCT metric FROM store.finals")["metric"].to_pylist())
    return Directed(metric, best, before["finals"], before["of_the_rest"], before["unknown"], near)
