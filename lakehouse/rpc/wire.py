"""What a client and the holder of a lake say to one another, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Parameters, Statement

ERROR_KEY = b"isoflop_error"
SESSION_TIMEOUT = 60.0  # seconds after which the session of a client that says nothing is closed
HEARTBEAT = 15.0  # seconds between two signs of life of a session


@dataclass(frozen=True)
class Request:
    """What a client asks of the holder.

    Parameters
    ----------
    kind : `query` one text, `write` several statements in one transaction, `drain`, `compact`, `snapshot`; `begin` a
        session, `keep` it alive, `end` it; in it `begin_statement` and `commit_statement` or `give_up_statement`;
        `interrupt` the request of another name
    statements : the SQL with its parameters
    token : names a write, so that one whose answer was lost can be sent again
    to : the file of a snapshot
    session : the session that a query or a write belongs to
    name : of this request, or of the one to interrupt
    is_read_only : whether the holder has to refuse changes
    """

    kind: str
    statements: Sequence[Statement] = ()
    token: str | None = None
    to: str | None = None
    session: str | None = None
    name: str | None = None
    is_read_only: bool = False

    def fields(self) -> dict[str, Any]:
        """Return what is sent."""
        return {key: getattr(self, key) for key in self.__dataclass_fields__}

    @classmethod
    def read(cls, about: Mapping[str, Any]) -> Request:
        """Return the request that was sent; what an older client does not say has its usual value."""
        known = {key: about[key] for key in cls.__dataclass_fields__ if key in about}
        return cls(**{**known, "statements": [(sql, _decoded(values)) for sql, values in about["statements"]]})


def aligned(table: pa.Table) -> pa.Table:
    """Return a copy in buffers of our own: those that come over the wire are not aligned, and Arrow warns of each."""
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]  # a dictionary's own buffers would stay as they are
    return table.cast(pa.schema(plain, table.schema.metadata)).take(pa.array(np.arange(table.num_rows)))


def encode(value: Any) -> Any:
    """Return a parameter as JSON has it."""
    if isinstance(value, bytes | bytearray):
        return {"hex": bytes(value).hex()}
    return value.item() if hasattr(value, "item") else str(value)


def _decoded(parameters: Any) -> Parameters:
    if isinstance(parameters, dict):
        return {key: _value(value) for key, value in parameters.items()}
    return None if parameters is None else [_value(value) for value in parameters]


def _value(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) and set(value) == {"hex"} else value
