-- How far the time of a step is to be trusted: its fastest one, the share of its time without a processor, and what
-- else the machine did meanwhile, in processors. Missing is NULL: of a device or a system that does not say.
ALTER TABLE store.attempts ADD COLUMN step_seconds_min DOUBLE;
ALTER TABLE store.attempts ADD COLUMN contention DOUBLE;
ALTER TABLE store.attempts ADD COLUMN host_load DOUBLE;
-- The fastest repetition of a phase.
ALTER TABLE store.timings ADD COLUMN lowest DOUBLE;
-- Different tokens of a run, and how often it saw each on average. Imports may have made columns of these names before.
ALTER TABLE store.runs ADD COLUMN IF NOT EXISTS unique_tokens DOUBLE;
ALTER TABLE store.runs ADD COLUMN IF NOT EXISTS epochs DOUBLE;

-- What a machine was measured to do, without any run.
CREATE TABLE store.calibrations (
    host VARCHAR, device VARCHAR, threads BIGINT, hardware JSON, measured_at TIMESTAMP, quantity VARCHAR, dtype VARCHAR,
    size BIGINT, value DOUBLE, typical DOUBLE, unit VARCHAR, repeats BIGINT, flops DOUBLE,
    memcpy_bytes DOUBLE, depth BIGINT, host_load DOUBLE, code_version VARCHAR
);
COMMENT ON TABLE store.calibrations IS 'What a device of a machine was measured to do: a row for each quantity, dtype and size of a calibration';
