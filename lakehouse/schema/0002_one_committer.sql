-- Who commits a spool to a shared catalog. Every transaction that writes changes `turn`, so of two at
-- the same time one is refused; `epoch` goes up when another committer takes the spool over.
CREATE TABLE store.lease (spool VARCHAR, epoch BIGINT, holder VARCHAR, turn BIGINT, renewed_at TIMESTAMP);

INSERT INTO store.lease VALUES ('', 0, NULL, 0, NULL);
