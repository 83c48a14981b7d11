-- How far the time of a step is to be trusted: its fastest one, the share of its time without a processor, and what
-- else the machine did meanwhile, in processors. Missing is NULL: of a device or a system that does not say.
ALTER TABLE store.attempts ADD COLUMN step_seconds_min DOUBLE;
ALTER TABLE store.attempts ADD COLUMN contention DOUBLE;
ALTER TABLE store.attempts ADD COLUMN host_load DOUBLE;
-- The fastest repetition of a phase.
ALTER TABLE store.timings ADD COLUMN lowest DOUBLE;
