"""Read YAML as data with a line number for every value.

What differs from PyYAML's own loader, and why:

- numbers are YAML 1.2 numbers: `1e-4` and `3e9` are numbers, `on`, `yes` and `1:30` are text;
- a key written twice is an error, not a silent overwrite;
- tags (`!!python/object`, `!include`) are errors: a sweep file is data, never code;
- every value knows its line, so that an error found much later still says `sweep.yaml:7`.

A file may hold several documents, separated by `---`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from isoflop.lakehouse.errors import FileError, UsageError

Keys = tuple[str | int, ...]  # where a value is: ("grid", "width", 2)

_STANDARD = "tag:yaml.org,2002:"
_RESOLVERS: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
_TAGS = {_STANDARD + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_REPEATED_PARTS = 100_000  # that aliases may add to what a text writes out
_MAX_DEPTH = 32  # nested lists and mappings; an alias to its own parent would nest without end


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own attribute


class _Dumper(yaml.SafeDumper):
    """Write text in quotes exactly when `_Loader` would read it as something else."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        return True


for _kind, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            _STANDARD + _kind, re.compile(rf"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
        )


@dataclass(frozen=True)
class Document:
    """One YAML document: its value, its own text, and where each part of it stands.

    Parameters
    ----------
    path : name of the file as the user gave it
    text : the part of the file this document was read from
    value : mapping of plain Python values
    lines : line number in the file by position in `value`
    overrides : `key.key=value` texts that replaced parts of it
    """

    path: str
    text: str
    value: Mapping[str, object]
    lines: Mapping[Keys, int] = field(repr=False)
    overrides: Mapping[Keys, str] = field(default_factory=dict)

    def error(self, keys: Keys, message: str, hint: str | None = None) -> FileError:
        """Return the error about the value at `keys`, or at the nearest part around it that has a line."""
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.overrides:
                return FileError(f"--set {self.overrides[keys[:length]]}", None, message, hint=hint)
            if keys[:length] in self.lines:
                return FileError(self.path, self.lines[keys[:length]], message, hint=hint)
        return FileError(self.path, None, message, hint=hint)

    def has(self, key: str) -> bool:
        """Return whether the document has this key at its top level."""
        return key in self.value


def read_documents(path: Path | str) -> tuple[Document, ...]:
    """Return the documents of a YAML file; `-` reads standard input.

    Raises
    ------
    FileError : if the file cannot be read, is not YAML, or holds something that is not a mapping
    """
    import sys

    try:
        text = sys.stdin.read() if str(path) == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(path, None, "is not UTF-8 text") from error
    return parse_documents(text, str(path))


def parse_documents(text: str, path: str = "<text>") -> tuple[Document, ...]:
    """Return the documents of a YAML text; `path` is the name that errors carry.

    Example
    -------
    >>> [document] = parse_documents("grid: {rate: [1e-4, 3e9], mode: on}")
    >>> document.value
    {'grid': {'rate': [0.0001, 3000000000.0], 'mode': 'on'}}
    """
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=_Loader) if not _is_empty(node)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "is not YAML").replace("\n", " ")
        raise FileError(path, mark.line + 1 if mark else None, f"is not YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise FileError(path, None, f"is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise FileError(path, None, f"is nested more than {_MAX_DEPTH} levels deep") from error
    if not nodes:
        raise FileError(path, None, "is empty", hint="a sweep file needs at least name, family and grid")
    return tuple(_document(node, text, path) for node in nodes)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _STANDARD + "null" and node.value == ""


def _document(node: yaml.Node, text: str, path: str) -> Document:
    lines: dict[Keys, int] = {}
    value = _plain(node, (), lines, path, most=len(text) + _REPEATED_PARTS)
    if not isinstance(value, dict):
        raise FileError(path, node.start_mark.line + 1, "is not a mapping of keys to values")
    first, last = node.start_mark.index, node.end_mark.index
    return Document(path, text[first:last].rstrip() + "\n", value, lines)


def _plain(node: yaml.Node, keys: Keys, lines: dict[Keys, int], path: str, most: int) -> object:
    """Return the value of a node; `most` parts, for aliases can make very many of a short text."""
    line = node.start_mark.line + 1
    lines.setdefault(keys, line)
    if len(lines) > most:
        raise FileError(path, line, f"aliases repeat more than {_REPEATED_PARTS:,} values", hint="write them out")
    if len(keys) > _MAX_DEPTH:
        raise FileError(path, line, f"is nested more than {_MAX_DEPTH} levels deep")
    if node.tag not in _TAGS:
        tag = node.tag.replace(_STANDARD, "!!")
        raise FileError(path, line, f"the tag '{tag}' is not allowed: a sweep file is data only")
    if isinstance(node, yaml.MappingNode):
        return dict(_items(node, keys, lines, path, most))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*keys, index), lines, path, most) for index, item in enumerate(node.value)]
    try:
        return _scalar(str(node.value), node.tag.removeprefix(_STANDARD))
    except ValueError as error:  # Python reads no number of more than 4,300 digits
        raise FileError(path, line, f"'{str(node.value)[:20]}…' is too long for a number") from error


def _items(
    node: yaml.MappingNode, keys: Keys, lines: dict[Keys, int], path: str, most: int
) -> Iterator[tuple[str, object]]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise FileError(path, line, "a key must be a name")
        key = str(key_node.value)
        if key == "<<":
            hint = "write the keys out where they belong; an alias, '*name', may stand for one whole value"
            raise FileError(
                path, line, "the merge key '<<' is not of YAML 1.2, which sweep files are written in", hint=hint
            )
        if key in seen:
            raise FileError(path, line, f"the key '{key}' is written twice")
        seen.add(key)
        lines[(*keys, key)] = line  # the key's line: where one looks first
        yield key, _plain(value_node, (*keys, key), lines, path, most)


def _scalar(text: str, kind: str) -> object:
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            return text


def dump(value: Mapping[str, object]) -> str:
    """Return a mapping as YAML that `parse_documents` reads back as the same value."""
    return yaml.dump(
        dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


def override(documents: Sequence[Document], settings: Sequence[str]) -> tuple[Document, ...]:
    """Return the documents with each `key.key=value` put in.

    In a file of several documents a setting goes to those that have its first two keys already, so
    that `grid.width=[64]` changes the sweep that has a width and leaves the others alone.

    Raises
    ------
    UsageError : if a setting is not `key=value`, or no document of several has the key
    """
    changed = list(documents)
    for setting in settings:
        name, equals, text = setting.partition("=")
        keys: Keys = tuple(part.strip() for part in name.split("."))
        if not equals or not all(keys):
            raise UsageError(f"--set {setting!r} is not KEY=VALUE", hint="for example --set grid.width=[64,128]")
        [holder] = parse_documents(f"value: {text.strip() or 'null'}", f"--set {setting}")
        takers = [i for i, d in enumerate(changed) if len(changed) == 1 or _reaches(d.value, keys[:2])]
        if not takers:
            raise UsageError(f"--set {name}: no sweep of this file has '{name}'")
        for i in takers:
            changed[i] = _with(changed[i], keys, holder.value["value"], setting)
    return tuple(changed)


def _reaches(value: object, keys: Keys) -> bool:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _with(document: Document, keys: Keys, new: object, setting: str) -> Document:
    def replaced(value: object, rest: Keys) -> object:
        if not rest:
            return new
        if isinstance(value, str):  # `optimizer: sgd` is short for the kind
            value = {"kind": value}
        if value is not None and not isinstance(value, Mapping):
            name = ".".join(str(key) for key in keys[: len(keys) - len(rest)])
            hint = f"give the whole of it: --set '{name}=…'"
            raise UsageError(f"--set {setting}: '{name}' is {value!r}, which has no '{rest[0]}' in it", hint=hint)
        old = value or {}
        return {**old, str(rest[0]): replaced(old.get(str(rest[0])), rest[1:])}

    value = replaced(document.value, keys)
    assert isinstance(value, dict)
    overrides = {**document.overrides, keys: setting}
    said = "".join(f"# --set {text}\n" for text in overrides.values())
    lines = {place: line for place, line in document.lines.items() if place[: len(keys)] != keys}
    return Document(document.path, said + dump(value), value, lines, overrides)
