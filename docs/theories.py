"""Makes docs/theories.md from the theories themselves, as laws.py does for laws."""

from __future__ import annotations

import importlib

from laws import as_markdown

from isoflop.queries.language.functions import TABLE_FUNCTIONS, TableFunction
from isoflop.queries.theory import THEORIES, Theory

HEAD = """# Theories

A theory computes the curves of a family of runs from their settings; there is nothing to fit. It is a word in a
statement, `PREDICT RUNS BY volterra_plrf FROM runs`, and an object in `isoflop.queries.theory`. What it says is kept in
the table `predictions`, in the shape of `metrics`: `theory, version, run_id, metric, step, value, deviation`, where the
deviation is the standard deviation of one run about the expected value. A predicted curve beside its run is a join:

```sql
SELECT run_id, step, m.value, p.value AS predicted, (m.value - p.value) / p.deviation AS deviations
FROM metric_curves m JOIN predictions p USING (run_id, metric, step) WHERE p.theory = 'volterra_plrf' AND p.step > 0
```

In Python, `predict_runs(lake, theory, run_ids)` makes predictions and `score_runs(lake, theories)` ranks theories by
their distance from what the runs measured, in logarithms and in deviations. Asking again replaces what the same version
of a theory said of a run.

What a theory says of no run in particular, such as exponents, is a table function: `FROM phases(0.7, [0.3, 0.6])`.
[language.md](language.md#table-functions) has their arguments and columns; they are derived below, behind the theories.
`isoflop plot phases` draws the plane of the phases, and `isoflop plot --kind phases RUN` where a run lies in it.

This page is written by `python docs/build.py` from the theories themselves.
"""


def section(theory: Theory, docstring: str) -> str:
    """Return the part of the page about one theory."""
    metrics = "\n".join(f"| `{metric}` | {unit} |" for metric, unit in theory.metrics.items())
    free = ", ".join(f"`{coefficient.name}`" for coefficient in theory.free) or "none"
    return "\n\n".join(
        [
            f"## {theory.name}",
            f"Version {theory.version} · family `{theory.family}` · {theory.source}",
            as_markdown(docstring),
            f"| metric | unit |\n| --- | --- |\n{metrics}",
            f"It reads {', '.join(f'`{field}`' for field in theory.fields)} and the seed. Numbers to fit: {free}.",
        ]
    )


def function_section(function: TableFunction) -> str:
    """Return the part of the page about one table function."""
    docstring = importlib.import_module(function.module).__doc__ or ""
    head = f"`FROM {function.usage}` · {function.source}"
    return "\n\n".join([f"## {function.name}", head, function.purpose, as_markdown(docstring)])


def page() -> str:
    """Return the whole page."""
    sections = [section(theory, importlib.import_module(type(theory).__module__).__doc__ or "") for theory in THEORIES]
    contents = [f"- [`{theory.name}`](#{theory.name}): family `{theory.family}`" for theory in THEORIES]
    taken = {theory.name for theory in THEORIES}  # a heading that is there already gets a number
    contents += [
        f"- [`{function.name}`](#{function.name}{'-1' if function.name in taken else ''}): table function"
        for function in TABLE_FUNCTIONS
    ]
    sections += [function_section(function) for function in TABLE_FUNCTIONS]
    return "\n\n".join([HEAD.rstrip(), "\n".join(contents), *sections]) + "\n"
