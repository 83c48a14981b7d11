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
COMMENT ON COLUMN store.calibrations.host IS 'the machine';
COMMENT ON COLUMN store.calibrations.device IS 'cpu, cuda:0, ...';
COMMENT ON COLUMN store.calibrations.threads IS 'of the processor that computed, or that kept a GPU busy';
COMMENT ON COLUMN store.calibrations.hardware IS 'names, sizes, versions';
COMMENT ON COLUMN store.calibrations.measured_at IS 'when the calibration began, UTC; the same in all its rows';
COMMENT ON COLUMN store.calibrations.quantity IS 'copy: an array copied; matrix: a product of two square matrices; launch: a smallest kernel; step: an update of a small decoder';
COMMENT ON COLUMN store.calibrations.dtype IS 'of the numbers';
COMMENT ON COLUMN store.calibrations.size IS 'copy: bytes of the array; matrix: rows; launch: numbers; step: weights';
COMMENT ON COLUMN store.calibrations.value IS 'of the fastest repetition, in the unit';
COMMENT ON COLUMN store.calibrations.typical IS 'of the median repetition, in the unit';
COMMENT ON COLUMN store.calibrations.unit IS 'byte/s (read and written), FLOP/s, or s';
COMMENT ON COLUMN store.calibrations.repeats IS 'repetitions that were timed';
COMMENT ON COLUMN store.calibrations.flops IS 'of a step';
COMMENT ON COLUMN store.calibrations.memcpy_bytes IS 'of a step';
COMMENT ON COLUMN store.calibrations.depth IS 'of a step: layers';
COMMENT ON COLUMN store.calibrations.host_load IS 'processors that other work kept busy meanwhile';
COMMENT ON COLUMN store.calibrations.code_version IS 'of the isoflop that measured';
