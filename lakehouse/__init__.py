"""What is known: runs, curves, laws and forecasts in one store, and the only way into it."""

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.lake import Lakehouse
from isoflop.lakehouse.records import RunRecord, run_id_of
from isoflop.lakehouse.spool import Spool

__all__ = ["Answer", "Lakehouse", "RunRecord", "Spool", "run_id_of"]
