-- Whether the rows that a law was fitted to had changed when that was last looked at; NULL is unknown.
ALTER TABLE store.laws ADD COLUMN stale BOOLEAN;
