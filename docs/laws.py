"""Makes docs/laws.md from the laws themselves.

Formula, LaTeX, inputs, coefficients and the SQL macro come from each law object, the prose and the example from the
docstring of its module.
"""

from __future__ import annotations

import importlib
import math
import pkgutil

from isoflop.queries import laws
from isoflop.queries.laws import LAWS, Law, registry
from isoflop.queries.laws.law import Coefficient

LONG = 1500  # characters of a macro that tell a reader nothing any more
HEAD = """# Laws

Every law here is a word in a statement, `FIT loss ~ chinchilla(params, tokens) FROM runs`, and an object in
`isoflop.queries.laws`. Its columns may be called anything: they are taken in the order below. Coefficients stay
within their domains; `PARAMETERS (…)` narrows them. A formula without a name works too,
`FIT loss ~ E + A / tokens ^ b PARAMETERS (…)`.

This page is written by `python docs/build.py` from the laws themselves.
"""


def modules_of_laws() -> dict[str, str]:
    """Return the docstring of the module that declares each law, by the law's name."""
    found: dict[str, str] = {}
    for info in pkgutil.iter_modules(laws.__path__, f"{laws.__name__}."):
        module = importlib.import_module(info.name)
        if module is registry:  # it declares none of those it names
            continue
        for value in vars(module).values():
            if isinstance(value, Law) and LAWS.get(value.name) is value:
                found[value.name] = module.__doc__ or ""
    return found


def domain(coefficient: Coefficient) -> str:
    """Return the interval a coefficient may lie in."""
    low = "(-∞" if coefficient.lower == -math.inf else f"[{coefficient.lower:g}"
    high = "∞)" if coefficient.upper == math.inf else f"{coefficient.upper:g}]"
    return f"{low}, {high}"


def as_markdown(docstring: str) -> str:
    """Return a module's docstring with its doctests fenced; formulas stay indented code."""
    lines: list[str] = []
    is_example = False
    for line in docstring.strip().splitlines():
        starts = line.startswith(">>>")
        if starts and not is_example:
            lines.append("```python")
            is_example = True
        elif is_example and not line.strip():
            lines.append("```")
            is_example = False
        lines.append(line)
    return "\n".join([*lines, "```"] if is_example else lines)


def section(law: Law, docstring: str, shared: bool) -> str:
    """Return the part of the page about one law; with `shared` its prose stands at another one."""
    inputs = [f"| `{one.name}` | {one.unit} | {'> 0' if one.positive else 'any'} |" for one in law.inputs]
    coefficients = [f"| `{one.name}` | {one.role.value} | {domain(one)} |" for one in law.coefficients]
    fitted_by = f"Fitted by `{law.objective.name}` unless told otherwise."
    parts = [
        f"## {law.name}",
        f"`{law.target} ~ {law.name}({', '.join(one.name for one in law.inputs)})` · {law.unit} · {law.source}",
        f"```math\n{law.latex()}\n```",
        "Of the same family as the law before it, whose text describes both." if shared else as_markdown(docstring),
        "\n".join(["| input | unit | domain |", "| --- | --- | --- |", *inputs]),
        "\n".join(["| coefficient | role | domain |", "| --- | --- | --- |", *coefficients]),
    ]
    macro = law.macro(law.name, [(k + 1) / 2 for k in range(len(law.coefficients))])
    if macro is not None:
        if len(macro) > LONG:
            head = macro.partition(" AS ")[0]
            parts.append(f"{fitted_by} Its macro, `{head}`, computes the same sums with list functions.")
        else:
            parts += [f"{fitted_by} As a macro, with coefficients 0.5, 1, 1.5, …:", f"```sql\n{macro}\n```"]
    else:
        parts.append(f"{fitted_by} It has no macro: `PREDICT` and `EXTRAPOLATE` compute it.")
    return "\n\n".join(parts)


def in_readme(text: str) -> str:
    """Return the README with the names of all laws where it lists them."""
    head, start, rest = text.partition("<!-- laws -->")
    _, end, tail = rest.partition("<!-- /laws -->")
    return f"{head}{start}\nBy name: {', '.join(f'`{name}`' for name in LAWS)}.\n{end}{tail}"


def page() -> str:
    """Return the whole page."""
    documented = modules_of_laws()
    contents = [f"- [`{name}`](#{name}): {documented[name].strip().splitlines()[0]}" for name in LAWS]
    sections = []
    before = ""
    for name, law in LAWS.items():
        sections.append(section(law, documented[name], documented[name] == before))
        before = documented[name]
    return "\n\n".join([HEAD.rstrip(), "\n".join(contents), *sections]) + "\n"
