"""Statements over the published rows whose answers are recorded before a change and compared after it.

They ask each verb, each objective and bootstrap, weights, groups and the functions of saved laws. The lake has the
published Chinchilla runs, `gadre` and `gemstones`; `FIT` draws few resamples where their number is not the point.
"""

from __future__ import annotations

CHINCHILLA = "FROM runs WHERE source LIKE 'import:%' AND NOT outlier"

STATEMENTS = (
    f"CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (delta = 1e-3)",
    f"CREATE LAW kap AS FIT loss ~ kaplan(params, tokens) {CHINCHILLA} WITH (resamples = 100)",
    f"CREATE LAW tied AS FIT loss ~ chinchilla_tied(params, tokens) {CHINCHILLA} WITH (resamples = 100)",
    "DESCRIBE LAW chin",
    "DESCRIBE LAW kap",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA}",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (objective = 'huber_log', resamples = 50, seed = 3)",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (objective = 'least_squares_log', resamples = 50)",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (objective = 'least_squares', resamples = 50)",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (bootstrap = 'auto', resamples = 60)",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (intervals = 'profile', resamples = 20)",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WITH (intervals = 'jackknife', resamples = 20)",
    f"FIT loss ~ chinchilla(params, tokens) {CHINCHILLA} WEIGHT BY 1 / loss WITH (resamples = 40, level = 0.9)",
    f"FIT loss ~ E + A / params^alpha + B / tokens^beta PARAMETERS (E > 0, A > 0, B > 0, alpha > 0, beta > 0) "
    f"{CHINCHILLA} WITH (resamples = 30)",
    f"FIT loss ~ chinchilla(params, tokens) PARAMETERS (alpha FIXED 0.34) {CHINCHILLA} WITH (resamples = 30)",
    f"FIT loss ~ compute_loss(flops) {CHINCHILLA} WITH (resamples = 50)",
    f"FIT loss ~ power(params) {CHINCHILLA} AND params > 1e9 WITH (resamples = 50)",
    f"FIT loss ~ plain_power(tokens) {CHINCHILLA} WITH (resamples = 50)",
    f"FIT loss ~ shifted_power(tokens) {CHINCHILLA} WITH (resamples = 20)",
    f"FIT loss ~ bnsl(flops) {CHINCHILLA} WITH (resamples = 10)",
    "FIT loss ~ chinchilla(params, tokens) FROM gadre WHERE loss > 0 GROUP BY train_data WITH (resamples = 30)",
    "FIT loss ~ overtraining(params, tokens) FROM gadre WHERE train_data = 'c4_original' WITH (resamples = 30)",
    "FIT top1_err_17task ~ task_error(loss_c4) FROM gadre WHERE train_data = 'rpj' WITH (resamples = 30)",
    "FIT loss ~ chinchilla(params, tokens) FROM gemstones WHERE in_fit = 1 WITH (resamples = 20, bootstrap = 'auto')",
    "FIT loss ~ width_depth(width, depth, tokens) FROM gemstones WHERE in_fit = 1 WITH (resamples = 10)",
    "EXTRAPOLATE chin TO params = [1e10, 7e10, 1e12], tokens = 20 * params",
    "EXTRAPOLATE kap TO params = 1e11, tokens = [1e12, 1e13] WITH (level = 0.8)",
    "EXTRAPOLATE AVERAGE OF chin, kap, tied TO params = 7e10, tokens = 1.4e12",
    f"PREDICT chin {CHINCHILLA}",
    f"RESIDUALS chin {CHINCHILLA}",
    f"RESIDUALS kap {CHINCHILLA}",
    "FORECAST chin TO params = 3e11, tokens = 6e12",
    f"CROSS VALIDATE loss ~ chinchilla(params, tokens) {CHINCHILLA} HOLDOUT LARGEST 20 PERCENT BY flops "
    "WITH (resamples = 50)",
    f"CROSS VALIDATE loss ~ chinchilla(params, tokens) {CHINCHILLA} KFOLD 4 WITH (resamples = 20)",
    f"COMPARE (loss ~ chinchilla(params, tokens)), (loss ~ kaplan(params, tokens)), "
    f"(loss ~ chinchilla_tied(params, tokens)) {CHINCHILLA} WITH (resamples = 20)",
    f"COMPARE (loss ~ power(params)), (loss ~ plain_power(params)) {CHINCHILLA} "
    "WITH (resamples = 20, weighing = 'aicc')",
    f"COMPARE APPROACHES {CHINCHILLA} WITH (resamples = 20)",
    "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
    "SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e20, 1e21, 1e22]",
    "OPTIMIZE chin MAXIMIZE -kap(params, tokens) OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
    "SUBJECT TO 6 * params * tokens <= 5.76e23",
    "SELECT chin(params, tokens) AS p FROM runs WHERE source LIKE 'import:%' ORDER BY run_id",
    "SELECT chin_lower(7e10, 1.4e12) AS l, chin_upper(7e10, 1.4e12) AS u, kap(1e9, 2e10) AS k",
    "SELECT name, target, rows, status FROM (SHOW LAWS) ORDER BY name",
    "SHOW LAW FORMS",
    f"EXPLAIN FIT loss ~ chinchilla(params, tokens) {CHINCHILLA}",
    "EXPLAIN EXTRAPOLATE chin TO params = 1e10, tokens = 20 * params",
    f"EXPLAIN CROSS VALIDATE loss ~ chinchilla(params, tokens) {CHINCHILLA} KFOLD 4",
    f"CREATE TABLE kept AS PREDICT chin {CHINCHILLA}",
    "SELECT count(*) AS n, sum(predicted_loss) AS s FROM kept",
    "REFIT LAW kap",
    "ALTER LAW tied RENAME TO tied2",
    "COMMENT ON LAW chin IS 'kept'",
    "DROP LAW tied2",
)
