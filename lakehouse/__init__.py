"""What is known: runs, curves, laws and forecasts in one store, and the only way into it."""

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.ingest.spool import Spool
from isoflop.lakehouse.lake import Asked, Lakehouse
from isoflop.lakehouse.runs.records import RunRecord, run_id_of
from isoflop.lakehouse.session import Session
from isoflop.lakehouse.sql.cancellation import Progress

__all__ = ["Answer", "Asked", "Lakehouse", "Progress", "RunRecord", "Session", "Spool", "run_id_of"]
