"""Makes docs/parametrizations.md from the tables that training evaluates."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args

from isoflop.workers.components.component import choices_of
from isoflop.workers.components.parametrization import AnyParametrization, TableParametrization
from isoflop.workers.components.scalings import Row

HEAD = """# Parametrizations

How first weights, what layers put out, and learning rates go with width and depth. A sweep file chooses with
`parametrization: mup`, or nested, `parametrization: {kind: mup, base_width: 128}`; `standard` is what runs have
without a word on it.

```yaml
name: wide
family: transformer
corpus: {kind: markov, vocabulary: 64}
grid:
  parametrization: {kind: mup, base_width: 64}
  width: [64, 128, 256]
  depth: 2
  learning_rate: [0.003, 0.01, 0.03]
  tokens: 1e6
```

At `base_width` and `base_depth` every parametrization is `standard`: the same first function, to rounding the same
updates. So find the learning rate there, and let the others take it along: `learning_rate` is always that of the
base, and each weight learns by it times the factor of its role below.

## Which one

* Widths differ: `mup`. Depths too: `completep`, or `depth_mup`.
* `ntk` keeps the features of wide networks as they began. It is for comparing with theory, not for good losses.
* `standard`: one learning rate for all weights. The best one falls with width, so that a sweep over widths at one rate
  compares networks some of which are trained badly: loss falls with width less, or more, than it would. Sweep the rate
  for each width, or take `mup`.

Measured on two layers, a Markov language of 64 tokens, 150 steps of 256 tokens, AdamW, rates in factors of two, one
seed, `base_width: 32`; the best rate, and the training loss at it and at the best rate of width 32:

| width | 32 | 64 | 128 | 256 |
| --- | --- | --- | --- | --- |
| `standard`, best rate | 2^-6 | 2^-7 | 2^-8 | 2^-9 |
| `standard`, loss there, and at 2^-6 | 3.021 | 2.764, 2.784 | 2.692, 2.743 | 2.657, 2.850 |
| `mup`, best rate | 2^-6 | 2^-6 | 2^-6 | 2^-6 |
| `mup`, loss there | 3.021 | 2.805 | 2.764 | 2.721 |

Swept at every width, `standard` came lower here than `mup` at the rate of width 32; at that one rate it came lower up
to width 128 and higher at 256, where its losses no longer fall with width.

## Is it so?

`isoflop coordcheck` trains networks of several sizes for a few steps, on the processor, and fits how large the outputs
of each layer are, and how far they have moved, as powers of the size. It exits with 1 where a layer fails.

```sh
isoflop coordcheck --parametrization mup
isoflop coordcheck --parametrization completep --depths 2,4,8,16
isoflop coordcheck sweep.yaml --widths 64,128,256 --out check.svg
isoflop coordcheck my_model:make --widths 64,128,256
```

| column | is |
| --- | --- |
| `scale_slope` | power of the size that the outputs' root mean square goes by, after the last step |
| `change_slope` | the same of how far outputs have moved since the beginning |
| `scale_error`, `change_error` | their standard errors over sizes and seeds |
| `verdict` | `pass`, `grows`, `shrinks`, or `unsure` where errors leave it open: take more `--seeds` or `--steps` |

A power beyond 0.25 fails, half of the smallest that a wrong scale brings; outputs may shrink, as first logits do under
`mup`. Over depth, layers of like name are taken together, and what each adds may fall as 1 / depth. On the small
transformer of `--widths 32,64,128,256` all layers of `mup` lie within 0.14 of zero; under `standard` changes of the
residual stream go as width to the 0.7.

A network of your own is a function of `width`, with `--depths` of `depth`, that returns a module, or a tuple of it with
its optimizer, a batch of inputs, or both. A module that returns a scalar returns its loss; any other is trained to put
out fixed random numbers.

## The tables

The entries are the formulas that training evaluates. `inputs` are those of the matrix, `wider` is
width / base_width, `deeper` is depth / base_depth. `into_residual` are matrices whose outputs are added to the residual
stream; `norm` and `bias` are those inside layers. `initial` is the standard deviation of first entries, "as it is" the
gains of 1 and biases of 0; `multiplier` is of what the layer puts out. Rate, decay and epsilon are factors of
`learning_rate`, `weight_decay` and 1e-8. The columns of Adam hold for every optimizer whose steps do not grow with the
gradient, those of Muon for the matrices that it orthogonalizes.

Under `mup`, `depth_mup` and `completep`, attention multiplies by sqrt(`base_head_width`) / head_width in place of
1 / sqrt(head_width).

This page is written by `python docs/build.py` from the tables themselves.
"""

COLUMNS = (
    "role",
    "initial",
    "multiplier",
    "Adam: rate",
    "decay",
    "epsilon",
    "SGD: rate",
    "decay",
    "Muon: rate",
    "decay",
)


def cells(role: str, row: Row) -> list[str]:
    """Return the formulas of one role."""
    initial = "as it is" if row.initial is None else f"`{row.initial}`"
    learning = (row.adam.rate, row.adam.decay, row.adam.epsilon, row.sgd.rate, row.sgd.decay)
    muon = (row.muon.rate, row.muon.decay) if role in ("hidden", "into_residual") else ("", "")
    return [f"`{role}`", initial, *(f"`{each}`" if each else "" for each in (row.multiplier, *learning, *muon))]


def section(scheme: type[TableParametrization]) -> Iterator[str]:
    """Yield the part of the page on one parametrization."""
    yield f"### `{scheme.kind_name()}`"
    yield inspect.cleandoc(scheme.__doc__ or "")
    rows = [f"| {' | '.join(cells(role, row))} |" for role, row in scheme.table.items()]
    yield "\n".join([f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}", *rows])


def page() -> str:
    """Return docs/parametrizations.md."""
    schemes = choices_of(get_args(AnyParametrization)[0])
    parts = [part for scheme in schemes if issubclass(scheme, TableParametrization) for part in section(scheme)]
    return "\n\n".join([HEAD.strip(), *parts]) + "\n"
