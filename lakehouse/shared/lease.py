"""Who commits a spool to a shared catalog, so that two committers can never do it side by side.

DuckLake has no unique keys, so exactly-once rests on order: every transaction that writes changes
the column `turn` of the lease, and of two transactions that do so at the same time the catalog
refuses one, which starts again and sees the other's rows. A committer moreover owns the lease of its
spool: taking it raises `epoch`, and a commit under an older epoch is refused before it writes.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.runs.provenance import is_running, process_label

if TYPE_CHECKING:
    import duckdb

SILENT_SECONDS = 30  # a committer elsewhere that has not committed for this long may be replaced
NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"
BUMP = "UPDATE store.lease SET turn = turn + 1"


class Fenced(StoreError):
    """Another committer has taken this lake's spool over."""

    def __init__(self, spool: str, holder: str | None) -> None:
        who = "another process" if holder is None else f"process {holder.split(':')[1]} on {holder.split(':')[0]}"
        super().__init__(
            f"{who} has taken over committing the spool '{spool}'; this process leaves it to that one",
            hint="nothing is lost: what is spooled is committed there",
        )


@dataclass
class Lease:
    """The right to commit one spool.

    Parameters
    ----------
    spool : name of the spool: its folder, with the host when other machines do not see it
    epoch : the epoch under which this process holds it; None while it does not
    """

    spool: str
    epoch: int | None = None

    def __post_init__(self) -> None:
        self.holder = f"{process_label()}:{secrets.token_hex(4)}"

    def take(self, con: duckdb.DuckDBPyConnection, *, by_force: bool = False) -> bool:
        """Take the lease inside the caller's transaction; False when a live committer has it."""
        row = con.execute(
            f"SELECT epoch, holder, renewed_at > {NOW} - to_seconds({SILENT_SECONDS}) FROM store.lease WHERE spool = ?",
            [self.spool],
        ).fetchone()
        if row is None:
            con.execute(f"INSERT INTO store.lease VALUES (?, 1, ?, 0, {NOW})", [self.spool, self.holder])
            con.execute(BUMP)  # the row of somebody else decides which of two first committers was first
            self.epoch = 1
            return True
        epoch, holder, is_fresh = row
        if holder is not None and holder != self.holder and is_fresh and not by_force:
            if is_running(holder.rpartition(":")[0]) is not False:
                return False
        con.execute(
            f"UPDATE store.lease SET turn = turn + 1, epoch = CASE WHEN spool = ? THEN epoch + 1 ELSE epoch END, "
            f"holder = CASE WHEN spool = ? THEN ? ELSE holder END, "
            f"renewed_at = CASE WHEN spool = ? THEN {NOW} ELSE renewed_at END",
            [self.spool, self.spool, self.holder, self.spool],
        )
        self.epoch = int(epoch) + 1
        return True

    def check(self, con: duckdb.DuckDBPyConnection) -> None:
        """Renew the lease inside the transaction of a commit.

        Raises
        ------
        Fenced : if another committer has it now
        """
        row = con.execute("SELECT epoch, holder FROM store.lease WHERE spool = ?", [self.spool]).fetchone()
        if row is None or row[0] != self.epoch or row[1] != self.holder:
            self.epoch = None
            raise Fenced(self.spool, row[1] if row else None)
        con.execute(
            f"UPDATE store.lease SET turn = turn + 1, renewed_at = CASE WHEN spool = ? THEN {NOW} ELSE renewed_at END",
            [self.spool],
        )

    def release(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let the next committer have it at once; inside the caller's transaction."""
        con.execute(
            "UPDATE store.lease SET turn = turn + 1, "
            "holder = CASE WHEN spool = ? AND epoch = ? THEN NULL ELSE holder END",
            [self.spool, self.epoch],
        )
        self.epoch = None
