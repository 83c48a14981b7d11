"""Makes docs/atlas.md from the published laws themselves, as theories.py does for theories."""

from __future__ import annotations

from isoflop.queries.laws.atlas import ATLAS, PublishedLaw

HEAD = """# Atlas of published laws

Laws of papers with the numbers that the papers give. `published:` and a name stand where the name of a saved law does,
with nothing to fit. On the command line no lake need be there, and none is made: `isoflop extrapolate
published:hoffmann_2022 params=70B tokens=1.4T` answers in an empty folder, and so do `optimize`, `compare --gain`,
`laws`, `plot` and `sql` as long as what they ask reads no table and keeps nothing. What is kept of a law, such as a
`FORECAST`, and averages take saved laws: `CREATE LAW paper AS published:…` saves one.

```sql
EXTRAPOLATE published:besiroglu_2024 TO params = 7e10, tokens = 1.4e12;
OPTIMIZE published:besiroglu_2024 MINIMIZE loss OVER params IN [1e7, 1e13] LOG, tokens IN [1e8, 1e15] LOG
SUBJECT TO 6 * params * tokens <= 5.76e23;
COMPARE published:hoffmann_2022, published:besiroglu_2024, chin FROM runs;
CREATE LAW paper AS published:besiroglu_2024;
SELECT paper(7e10, 1.4e12);
```

Params and tokens are counts, flops the training FLOP of a run; what a law counts otherwise, such as params without
embeddings, stands beside it. Numbers are facts about the runs of a paper: its data, its tokenizer, its loss. They have
no rows here, so how far beyond them a point lies is not known, and no interval, unless a law is made with one:
`CREATE LAW … WITH COEFFICIENTS (…) COVARIANCE [[…], …] WITH (residual_scale = …)`. `SHOW PUBLISHED LAWS` and
`isoflop laws --published` list them. Papers' runs are another matter: `isoflop import published:chinchilla_epoch`.

This page is written by `python docs/build.py` from the laws themselves.
"""


def section(entry: PublishedLaw) -> str:
    """Return the part of the page about one law."""
    law = entry.law
    inputs = ", ".join(f"`{each.name}`" + (f" [{each.unit}]" if each.unit else "") for each in law.inputs)
    form = f"[`{entry.form}`](laws.md#{entry.form})" if entry.is_built_in else f"`{entry.form}`"
    rows = "\n".join(
        f"| `{coefficient.name}` | {value:.8g} | {'' if error is None else f'{error:g}'} |"
        for coefficient, value, error in (
            (each, value, entry.std_errors.get(each.name))
            for each, value in zip(law.coefficients, entry.values.tolist(), strict=True)
        )
    )
    return "\n\n".join(
        [
            f"## {entry.name}",
            f"{entry.source}. {entry.about}.",
            f"`{law.target}` [{law.unit}] by {form} of {inputs}.",
            f"| coefficient | value | standard error |\n| --- | ---: | ---: |\n{rows}",
        ]
    )


def page() -> str:
    """Return the whole page."""
    contents = [f"- [`{entry.name}`](#{entry.name}): `{entry.law.target}`, {entry.source}" for entry in ATLAS]
    return "\n\n".join([HEAD.rstrip(), "\n".join(contents), *map(section, ATLAS)]) + "\n"
