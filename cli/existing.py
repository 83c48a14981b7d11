"""Whether the lake that a command names is there, and whether it may be written."""

from __future__ import annotations

import os

FILES_NAMED = 5  # lakes in a folder that an error names


def only_reads(address: str | None) -> bool:
    """Return whether the file of a lake is there and may not be written, or nothing beside it; says so."""
    from isoflop.cli.output import note
    from isoflop.lakehouse.address import FileAddress, parse_address

    place = parse_address(address)
    if not isinstance(place, FileAddress) or not place.path.exists():
        return False
    if os.access(place.path, os.W_OK) and os.access(place.path.parent, os.W_OK):
        return False
    note(f"{place.path} cannot be written here; it is open for reading only")
    return True


def is_missing(address: str | None) -> bool:
    """Return whether no lake is named, and at the usual place there is none, and no batches for one."""
    from isoflop.lakehouse.address import FileAddress, parse_address, spool_of

    place = parse_address(address)
    if address is not None or not isinstance(place, FileAddress) or place.path.exists():
        return False
    return not any(spool_of(place.path).glob("*.parquet"))


def check_exists(address: str | None, makes: bool = False) -> None:
    """Refuse the address of a file that is not there, unless batches wait for it and it is to be made of them.

    Raises
    ------
    StoreError : if there is no such lake, with the nearest one beside it
    """
    from isoflop.lakehouse.address import ENVIRONMENT, FileAddress, parse_address, spool_of
    from isoflop.lakehouse.errors import StoreError, did_you_mean

    place = parse_address(address)
    if not isinstance(place, FileAddress) or place.path.exists():
        return
    waiting = len(list(spool_of(place.path).glob("*.parquet")))
    if waiting and makes:
        return
    if waiting:
        batches = "1 batch" if waiting == 1 else f"{waiting} batches"
        raise StoreError(
            f"there is no lake at {place.path}, but {batches} for it in its spool",
            hint="isoflop lake ingest makes it of them",
        )
    name, beside = place.path.name, sorted(path.name for path in place.path.parent.glob("*.duckdb"))
    near = did_you_mean(name, beside, None)
    if near is None and beside:
        near = f"in that folder are {', '.join(beside[:FILES_NAMED])}{', …' if len(beside) > FILES_NAMED else ''}"
    makers = "name another one with --lake; isoflop import, sweep and isoflop.open() make one"
    said = f", which ${ENVIRONMENT} names" if address is None and os.environ.get(ENVIRONMENT) else ""
    raise StoreError(f"there is no lake at {place.path}{said}", hint=near or makers)
