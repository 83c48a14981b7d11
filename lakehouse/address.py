"""Where a lake is: the path of a file, or a PostgreSQL catalog and the place of its data.

An address is `--lake`, else the environment's ISOFLOP_LAKE, else `./isoflop.duckdb`. A shared lake is
written `postgresql://user@host:port/database?data=/shared/path` or `…?data=s3://bucket/prefix`. An
address is shown, logged and stored, so it never holds a password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.lakehouse.runs.records import digest

ENVIRONMENT = "ISOFLOP_LAKE"
SPOOL_ENVIRONMENT = "ISOFLOP_SPOOL"
DEFAULT = "isoflop.duckdb"
SHAPE = "postgresql://user@host:port/database?data=/shared/path"
LONGEST_NAME = 200  # bytes; file systems take 255, and `.serving.PID.partial` and the like come after it
OPTIONS = ("data", "host", "sslmode", "sslrootcert")


@dataclass(frozen=True)
class FileAddress:
    """A lake in one DuckDB file.

    Parameters
    ----------
    path : absolute path of the file; of a link, that of the file it leads to, so that a lake has one name
    given : the link it was asked for by
    """

    path: Path
    given: Path | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class SharedAddress:
    """A lake in a PostgreSQL catalog with Parquet data beside it.

    Parameters
    ----------
    host, port, user, database : of the catalog; None leaves the choice to the PG… environment
    data : absolute path or URL of the folder that holds the Parquet files
    options : further libpq settings (sslmode, sslrootcert)
    """

    database: str
    data: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        is_socket = self.host is not None and self.host.startswith("/")
        host = "" if self.host is None or is_socket else f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port and not is_socket else ""
        pairs = [("data", self.data), *([("host", self.host)] if is_socket and self.host else []), *self.options]
        query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in pairs)
        return f"postgresql://{user}{host}{port}/{quote(self.database, safe='')}?{query}"

    @property
    def is_remote_data(self) -> bool:
        """Whether the data lies in an object store rather than in a folder."""
        return "://" in self.data

    @property
    def path(self) -> Path:
        """What stands for the lake on this machine; its spool and checkpoints lie beside it.

        With data in a folder that is the folder, which every machine of the lake sees. Data in an
        object store has no folder, so a place of this machine takes its part.
        """
        if not self.is_remote_data:
            return Path(self.data)
        place = os.environ.get(SPOOL_ENVIRONMENT) or "~/.local/share/isoflop"
        return Path(place).expanduser().absolute() / f"{self.database}-{digest(str(self))}"

    @property
    def connection_string(self) -> str:
        """The libpq settings of the catalog, without a password: libpq finds that by itself."""
        pairs = [
            ("host", self.host), ("port", self.port), ("user", self.user), ("dbname", self.database),
            *self.options, ("connect_timeout", 10), ("application_name", "isoflop"),
        ]  # fmt: skip
        return " ".join(f"{name}={_libpq(str(value))}" for name, value in pairs if value is not None)


Address = FileAddress | SharedAddress


def parse_address(address: str | os.PathLike[str] | None = None) -> Address:
    """Return the lake that `address` names.

    Raises
    ------
    UsageError : if it is a folder, a URL of another kind, incomplete, or holds a password

    Example
    -------
    >>> parse_address("postgresql://ann@db.example:5432/runs?data=/shared/runs").connection_string
    'host=db.example port=5432 user=ann dbname=runs connect_timeout=10 application_name=isoflop'
    """
    text = str(address) if address is not None else os.environ.get(ENVIRONMENT) or DEFAULT
    scheme = re.match(r"([a-z][a-z0-9+]*)://", text)
    if scheme is None:
        return _file(text)
    if scheme.group(1) in ("postgresql", "postgres"):
        return _shared(urlsplit(text))
    raise UsageError(
        f"'{scheme.group(0)}…' is not the path of a lake; give a file, for example runs.duckdb, or {SHAPE}"
    )


def resolve(address: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path that stands for the lake on this machine.

    Raises
    ------
    UsageError : as `parse_address`
    """
    return parse_address(address).path


def spool_of(path: Path) -> Path:
    """Return the folder in which finished batches for the lake at `path` wait."""
    return path.with_name(path.name + ".spool")


def _file(text: str) -> FileAddress:
    path = Path(text).expanduser().absolute()
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise UsageError(
            f"the lake's file has a name of {len(os.fsencode(path.name))} bytes, more than {LONGEST_NAME}",
            hint="give a shorter one; files beside the lake are named after it",
        )
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a name that is too long
        raise UsageError(f"{path} cannot be the name of a lake: {error.strerror}") from error
    if is_folder:
        raise UsageError(f"{path} is a folder; give the file of the lake, for example {path / DEFAULT}")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file but a pipe, socket or device; give the file of the lake")
    if not path.is_symlink():
        return FileAddress(path)
    try:
        real = path.resolve()
    except (RuntimeError, OSError) as error:  # which of the two a circle is depends on the version of Python
        raise UsageError(
            f"{path} is a link that leads to no file: {error}", hint="remove it, or make it lead to a file"
        ) from error
    if real.is_symlink():
        raise UsageError(f"{path} is a link that leads in a circle", hint="remove it, or make it lead to a file")
    return FileAddress(real, given=path)


def _shared(parts: SplitResult) -> SharedAddress:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.password is not None or "password" in given:
        raise UsageError(
            "the address of the lake holds a password; addresses are shown and stored, so none may",
            hint=f"leave it out ({SHAPE}) and put it into PGPASSWORD or a line of ~/.pgpass",
        )
    for name in given:
        if name not in OPTIONS:
            raise UsageError(
                f"a lake's address has no option '{name}'",
                hint=did_you_mean(name, OPTIONS, f"it has {', '.join(OPTIONS)}"),
            )
    database = unquote(parts.path.lstrip("/"))
    if not database or "/" in database:
        raise UsageError(f"the address of the lake names no database; expected {SHAPE}")
    if not given.get("data"):
        raise UsageError(
            f"the address of database '{database}' says nowhere where the data lies", hint=f"expected {SHAPE}"
        )
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"the port of the lake's address is no number from 1 to 65535; expected {SHAPE}") from error
    return SharedAddress(
        database=database,
        data=_data(given["data"]),
        host=parts.hostname or given.get("host"),
        port=port,
        user=unquote(parts.username) if parts.username else None,
        options=tuple((name, given[name]) for name in OPTIONS[2:] if given.get(name)),
    )


def _data(text: str) -> str:
    if "://" in text:
        return text.rstrip("/")
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise UsageError(f"data={text} is a relative path; give the absolute path that every machine of the lake sees")
    if path.is_file():
        raise UsageError(f"data={text} is a file; give the folder that holds the lake's Parquet files")
    return str(path).rstrip("/") or "/"


def _libpq(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.:/@-]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
