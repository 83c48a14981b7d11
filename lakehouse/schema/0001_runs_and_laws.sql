-- Tables of what happened. Missing is NULL; NaN and infinities are kept as they came.
-- No foreign keys and no keys on metrics: there is one writer, and it checks the ledger.

CREATE TABLE store.sweeps (
    sweep_id VARCHAR, name VARCHAR, spec VARCHAR, code_version VARCHAR, created_at TIMESTAMP
);

CREATE TABLE store.sweep_runs (sweep_id VARCHAR, run_id VARCHAR, position BIGINT);

-- What is known of a run before it trains. Further config keys become further columns.
CREATE TABLE store.runs (
    run_id VARCHAR, name VARCHAR, family VARCHAR, source VARCHAR, seed BIGINT, created_at TIMESTAMP,
    tags VARCHAR[], config JSON,
    params DOUBLE, params_non_embedding DOUBLE, tokens DOUBLE, steps BIGINT, flops DOUBLE, memcpy_bytes DOUBLE,
    width BIGINT, depth BIGINT, heads BIGINT, vocabulary BIGINT, sequence_length BIGINT, batch_tokens BIGINT,
    learning_rate DOUBLE, parametrization VARCHAR, precision VARCHAR, corpus VARCHAR
);

-- What one attempt at a run measured, and how it ended.
CREATE TABLE store.attempts (
    run_id VARCHAR, attempt INTEGER, status VARCHAR, reason VARCHAR, driver VARCHAR,
    host VARCHAR, device VARCHAR, hardware JSON, code_version VARCHAR,
    started_at TIMESTAMP, heartbeat_at TIMESTAMP, finished_at TIMESTAMP, resumed_step BIGINT,
    loss DOUBLE, validation_loss DOUBLE, irreducible_loss DOUBLE, corpus_hash VARCHAR,
    step_seconds DOUBLE, train_seconds DOUBLE, compile_seconds DOUBLE, peak_memory_bytes DOUBLE,
    results JSON, error VARCHAR, traceback VARCHAR
);

CREATE TABLE store.metrics (
    run_id VARCHAR, attempt INTEGER, metric VARCHAR, step BIGINT, value DOUBLE, seconds DOUBLE
);

CREATE TABLE store.finals (
    run_id VARCHAR, attempt INTEGER, metric VARCHAR, last DOUBLE, last_step BIGINT,
    best DOUBLE, best_step BIGINT, count BIGINT
);

CREATE TABLE store.timings (
    run_id VARCHAR, attempt INTEGER, phase VARCHAR, count BIGINT,
    p10 DOUBLE, p50 DOUBLE, p90 DOUBLE, total DOUBLE
);

CREATE TABLE store.logs (run_id VARCHAR, attempt INTEGER, logged_at TIMESTAMP, level VARCHAR, message VARCHAR);

-- The ledger: a batch is committed with its rows or not at all.
CREATE TABLE store.batches (
    batch_id VARCHAR PRIMARY KEY, run_id VARCHAR, attempt INTEGER, sequence BIGINT, points BIGINT, committed_at TIMESTAMP
);

CREATE TABLE store.laws (
    name VARCHAR, version INTEGER, form VARCHAR, formula VARCHAR, target VARCHAR, inputs VARCHAR[],
    statement VARCHAR, source VARCHAR, options JSON, seed BIGINT, code_version VARCHAR, comment VARCHAR,
    coefficients STRUCT(coefficient VARCHAR, estimate DOUBLE, std_error DOUBLE, lower DOUBLE, upper DOUBLE, at_bound BOOLEAN)[],
    level DOUBLE, draws DOUBLE[][], residuals DOUBLE[], residual_scale DOUBLE,
    support STRUCT(input VARCHAR, lowest DOUBLE, largest DOUBLE)[],
    objective DOUBLE, rows BIGINT, dropped BIGINT, data_hash VARCHAR, status VARCHAR, notes VARCHAR[],
    diagnosis JSON, created_at TIMESTAMP
);

CREATE TABLE store.forecasts (
    forecast_id VARCHAR, law VARCHAR, version INTEGER, inputs JSON, predicted DOUBLE, lower DOUBLE, upper DOUBLE,
    level DOUBLE, made_at TIMESTAMP, run_id VARCHAR, observed DOUBLE
);
