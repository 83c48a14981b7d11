-- A value that single precision holds exactly, as most losses are, lies in `single` and has `value` NULL;
-- any other lies in `value`. The view `metrics` shows one column. Rows of before stay right as they are.
ALTER TABLE store.metrics ADD COLUMN single FLOAT;
