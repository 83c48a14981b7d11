"""Loading DuckDB's extensions without the network: from their wheels, else what DuckDB has installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError

if TYPE_CHECKING:
    import duckdb


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load `name` for this connection's database.

    Raises
    ------
    StoreError : if it is neither in a wheel of this DuckDB's version nor installed nor to be had
    """
    import duckdb

    version = f"v{duckdb.__version__}"
    spec = find_spec(f"duckdb_extension_{name}")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for place in places:
        file = place / "extensions" / version / f"{name}.duckdb_extension"
        if file.is_file():
            text = str(file).replace("'", "''")
            con.execute(f"LOAD '{text}'")
            return
    try:
        con.execute(f"LOAD {name}")
    except duckdb.Error:
        try:
            con.execute(f"INSTALL {name}")
            con.execute(f"LOAD {name}")
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise StoreError(
                f"a shared lake needs DuckDB's extension '{name}' for {version}, which is not here ({first})",
                hint='pip install "isoflop[lake]"',
            ) from error
