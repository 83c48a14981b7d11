-- Whether the rows that a law was fitted to had changed when that was last looked at; NULL is unknown.
ALTER TABLE store.laws ADD COLUMN stale BOOLEAN;
-- A value that single precision holds exactly, as most losses are, lies in `single` and has `value` NULL;
-- any other lies in `value`. The view `metrics` shows one column. Rows of before stay right as they are.
ALTER TABLE store.metrics ADD COLUMN single FLOAT;
