-- An attempt that a training process begins by itself is known by a token, until the process that commits gives it a number.
ALTER TABLE store.attempts ADD COLUMN token VARCHAR;
-- A process that was forked off inside a run adds batches of its own to the attempt, counted in a stream of their own.
ALTER TABLE store.batches ADD COLUMN stream VARCHAR;
-- Which value of a metric is its best one, `highest` or `lowest`, where people have said so.
CREATE TABLE store.metric_directions (metric VARCHAR, best VARCHAR);
-- How many transactions have changed what is known. The number is kept beside the file too, so that a loss is noticed.
CREATE TABLE store.commits (number BIGINT);
INSERT INTO store.commits VALUES (0);
