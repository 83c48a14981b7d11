"""What machines were measured to do, in the table `calibrations`: written once, read when runs are foretold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.ingest.encoding import utc_now
from isoflop.lakehouse.runs.provenance import code_version, host_name

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.lake import Lakehouse

_INSERT = (
    "INSERT INTO store.calibrations BY NAME "
    "SELECT * REPLACE (measured_at::TIMESTAMP AS measured_at, hardware::JSON AS hardware) FROM _calibration"
)
_NEWEST = (
    "SELECT device, threads, measured_at FROM calibrations WHERE host = ? AND quantity = 'step' "
    "ORDER BY measured_at DESC LIMIT 1"
)


def record_calibration(
    lake: Lakehouse, measured: Sequence[Mapping[str, Any]], *, device: str, threads: int, hardware: Mapping[str, Any],
    host_load: float | None,
) -> pa.Table:  # fmt: skip
    """Keep what a device of this machine was measured to do, and return it as the table has it.

    Parameters
    ----------
    measured : quantity, dtype, size, value, typical, unit, repeats, flops, memcpy_bytes and depth of each

    Raises
    ------
    StoreError : if the lake is only read
    """
    import pyarrow as pa

    common = {
        "host": host_name(),
        "device": device,
        "threads": threads,
        "hardware": json.dumps(dict(hardware)),
        "measured_at": utc_now(),
        "host_load": host_load,
        "code_version": code_version(),
    }
    table = pa.Table.from_pylist([{**common, **each} for each in measured])
    lake.write([(_INSERT, None)], {"_calibration": table})
    return table


def newest_calibration(lake: Lakehouse) -> dict[str, Any] | None:
    """Return device, threads and time of the newest calibration of this machine that has steps, None without one."""
    rows = lake.query(_NEWEST, [host_name()]).to_pylist()
    return dict(rows[0]) if rows else None
