"""Makes docs/families.md from the families themselves: what each is, its settings, its metrics, a sweep that runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from isoflop.workers.families import FAMILIES, Experiment
from isoflop.workers.sweep_file import dump
from isoflop.workers.sweep_keys import SETTINGS_APART

HEAD = """# Families

A family is what a sweep file trains, `family: transformer`, and a class in `isoflop.workers.families`. Its settings are
keys of the file and columns of `runs`. Settings that belong together, an optimizer's or a task's, may be written flat
or nested, `optimizer: {kind: sgd, learning_rate: [0.1, 0.3]}`; either way they are the same run.

What a family does not count, such as the tokens of a network that sees no samples, is NULL.

This page is written by `python docs/build.py` from the families themselves.
"""


def described(info: FieldInfo) -> str:
    """Return what a setting is, and its default where it has a plain one."""
    words = (info.description or "").replace("|", "\\|")
    if info.is_required():
        return f"| needed | {words} |"
    if info.default_factory is not None:
        return f"| | {words} |"
    default = info.get_default()
    shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    return f"| `{shown}` | {words} |"


def settings(family: type[Experiment]) -> Iterator[str]:
    """Yield a row for each setting; those of a component say which alternative has them."""
    components = family.components()
    for name, info in family.model_fields.items():
        rows: dict[tuple[str, str], list[str]] = {}
        for choice in components.get(name, ()):
            for setting, field in choice.settings(name).items():
                text = "|" if setting == name and field == "kind" else described(choice.model_fields[field])
                rows.setdefault((setting, text), []).append(choice.kind_name() or "")
        for (setting, text), kinds in rows.items():
            if text == "|":
                named = [f"`{kind}`" for kind in kinds]
                which = " or ".join(filter(None, (", ".join(named[:-1]), named[-1])))
                text = f"| `{kinds[0]}` | which one: {which} |"
                yield f"| `{setting}` | {name} {text}"
                continue
            own = len(kinds) < len(components[name])
            yield f"| `{setting}` | {name}{' ' + ', '.join(kinds) if own else ''} {text}"
        if name not in components:
            yield f"| `{name}` | {described(info)}"


def section(family: type[Experiment]) -> str:
    """Return the part of the page on one family."""
    run = family.parse(family.example)
    apart = {name: value for name, value in family.example.items() if name in SETTINGS_APART}
    grid = {name: value for name, value in family.example.items() if name not in apart}
    file = dump({"name": "example", "family": family.name, **apart, "grid": grid})
    metrics = "\n".join(f"| `{name}` | {unit} |" for name, unit in run.metrics().items())
    parts = [
        f"## `{family.name}`",
        inspect.cleandoc(family.__doc__ or ""),
        f"Measured along: {family.axis}. In the example below that goes to {run.length}.",
        f"```yaml\n{file.strip()}\n```",
        "\n".join(["| setting | part of | default | |", "| --- | --- | --- | --- |", *settings(family)]),
        f"| metric | unit |\n| --- | --- |\n{metrics}",
    ]
    return "\n\n".join(parts)


def page() -> str:
    """Return docs/families.md."""
    return "\n\n".join([HEAD.strip(), *(section(family) for family in FAMILIES.values())]) + "\n"
