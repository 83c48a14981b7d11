-- Relative distance up to which a run's inputs are those of a forecast; NULL is one part in a million, as it was before.
ALTER TABLE store.forecasts ADD COLUMN tolerance DOUBLE;
