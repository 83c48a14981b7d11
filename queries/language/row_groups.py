"""Rows by the values of GROUP BY."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def group_rows(keys: pa.Table) -> list[NDArray[np.intp]]:
    """Return the positions of the rows of each group, in the order in which groups appear."""
    found: dict[tuple[object, ...], list[int]] = {}
    for index, values in enumerate(zip(*(column.to_pylist() for column in keys.columns), strict=True)):
        found.setdefault(tuple(map(hashable, values)), []).append(index)
    return [np.asarray(indices, dtype=np.intp) for indices in found.values()]


def hashable(value: object) -> object:
    """Return a value as a key: lists and structs as tuples, which are ordered as DuckDB orders them."""
    if isinstance(value, dict):
        return tuple(map(hashable, value.values()))
    return tuple(map(hashable, value)) if isinstance(value, list) else value


def with_named_fields(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of structs whose fields have no names, such as `(params, tokens)`, with numbers for names."""
    import pyarrow as pa

    kind = column.type
    if not pa.types.is_struct(kind) or len({field.name for field in kind}) == kind.num_fields:
        return column
    names = [str(position + 1) for position in range(kind.num_fields)]
    whole = column.combine_chunks()
    return pa.chunked_array([pa.StructArray.from_arrays(whole.flatten(), names=names, mask=whole.is_null())])
