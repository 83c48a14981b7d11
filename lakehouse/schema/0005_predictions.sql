-- What theories say of runs: a metric's expected value at a step, and how far one run lies from it as a standard deviation.
CREATE TABLE store.predictions (
    theory VARCHAR, version VARCHAR, run_id VARCHAR, metric VARCHAR, step BIGINT, value DOUBLE, deviation DOUBLE
);
