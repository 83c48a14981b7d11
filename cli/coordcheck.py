"""`isoflop coordcheck`: whether what layers put out, and how far it moves, stays alike over width or depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.options import FormatOption, JsonOption

if TYPE_CHECKING:
    from isoflop.cli.plot.figure import Figure
    from isoflop.workers.coordinates import Coordinates, LayerCheck
    from isoflop.workers.families.gradient import GradientFamily

WIDTHS = (32, 64, 128, 256)  # of the network that is checked where no file says which
LANGUAGE = {"kind": "markov", "vocabulary": 64}  # and what it reads
SHAPE = {"depth": 2, "sequence_length": 32, "batch_size": 8}
FAILED = ("grows", "shrinks")


def coordcheck(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[SWEEP | MODULE:FUNCTION]",
            help="A sweep file, or a function of a width that returns a torch module [default: a small transformer].",
            show_default=False,
        ),
    ] = None,
    parametrization: Annotated[
        str | None, typer.Option("--parametrization", "-p", help="standard, ntk, mup, depth_mup or completep.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="adamw, sgd, ….")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="At the base; of a function without an optimizer 0.01.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option("--widths", metavar="N,…", help="[default: the sweep's, else 32,64,128,256]")
    ] = None,
    depths: Annotated[
        str | None, typer.Option("--depths", metavar="L,…", help="Compare depths in place of widths.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Updates before the last look.")] = 4,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Networks of each size.")] = 2,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Draw it: an .svg, .png or .pdf.")
    ] = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Check that a parametrization carries over: no layer's outputs or changes grow or vanish with size.

    Trains networks of several sizes for a few steps on this machine's processor, fits the size of each layer's outputs
    and of their change as powers of the width (or depth), and says which layers fail. Exit code 1 when one does.

    \b
      isoflop coordcheck --parametrization mup
      isoflop coordcheck --parametrization completep --depths 2,4,8,16
      isoflop coordcheck sweep.yaml --widths 64,128,256 --out check.svg
      isoflop coordcheck my_model:make --widths 64,128,256
    """
    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.errors import UsageError
    from isoflop.workers.coordinates import check

    form = chosen_format(format, json)
    if widths is not None and depths is not None:
        raise UsageError("--widths and --depths are two checks", hint="give one of the two")
    axis, sizes = ("depth", _sizes(depths)) if depths is not None else ("width", _sizes(widths))
    changes = {"parametrization": parametrization, "optimizer": optimizer, "learning_rate": learning_rate}
    given = {name: value for name, value in changes.items() if value is not None}
    if target is not None and ":" in target and not Path(target).exists():
        unused = [name for name in given if name != "learning_rate"]
        if unused:
            raise UsageError(
                f"--{unused[0]} says nothing of '{target}'", hint="the function decides, and its optimizer"
            )
        measured = _of_function(target, axis, sizes or WIDTHS, steps, seeds, learning_rate or 0.01)
    else:
        measured = _of_runs(_runs(target, axis, sizes, seeds, given), axis, steps)
    found = check(measured, may_shrink=1.0 if axis == "depth" else 0.0)
    show(_answer(found, axis), form)
    if out is not None:
        from isoflop.cli.plot.image import save

        note(f"wrote {save(_figure(measured, found, axis), out)}")
    if any(each.verdict in FAILED for each in found):
        raise typer.Exit(1)


def _sizes(text: str | None) -> tuple[int, ...]:
    """Return the sizes that an option lists, none where it is not given."""
    from isoflop.lakehouse.errors import UsageError

    try:
        sizes = tuple(int(part) for part in text.split(",")) if text is not None else ()
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes) or (text is not None and len(set(sizes)) < 2):
        raise UsageError(f"'{text}' is not at least two sizes", hint="such as 64,128,256")
    return sizes


def _runs(file: str | None, axis: str, sizes: Sequence[int], seeds: int, given: dict[str, Any]) -> list[GradientFamily]:
    """Return one run for each size and seed: of a sweep file its first that is so wide or deep."""
    from isoflop.lakehouse.errors import UsageError
    from isoflop.workers.families import GradientFamily
    from isoflop.workers.families.transformer import Transformer

    if file is None:
        sizes = sizes or WIDTHS
        first = {axis: min(sizes)} if given.get("parametrization", "standard") != "standard" else {}
        base = {f"base_{name}": size for name, size in first.items()}
        shape = {"width": 64, **SHAPE, "corpus": LANGUAGE, "steps": 1, **base, **given}
        return [Transformer.parse({**shape, axis: size, "seed": seed}) for seed in range(seeds) for size in sizes]
    from isoflop.workers.sweep import load_sweep

    settings = [f"grid.{axis}={list(sizes)}"] if sizes else []
    settings += [f"seeds={seeds}", *(f"grid.{name}={value}" for name, value in given.items())]
    sweep = load_sweep(file, settings)
    if not issubclass(sweep.family, GradientFamily):
        raise UsageError(
            f"family '{sweep.family.name}' trains no torch module of ours",
            hint="check a function of yours: module:function",
        )
    first_of: dict[tuple[Any, int], GradientFamily] = {}
    for run in sweep.expand().runs:
        assert isinstance(run, GradientFamily)
        first_of.setdefault((run.values()[axis], run.seed), run)
    return list(first_of.values())


def _of_runs(runs: Sequence[GradientFamily], axis: str, steps: int) -> list[Coordinates]:
    from isoflop.workers.coordinates import measure, of_family

    return [measure(of_family(run), run.values()[axis], steps=steps, by_kind=axis == "depth") for run in runs]


def _of_function(
    place: str, axis: str, sizes: Sequence[int], steps: int, seeds: int, learning_rate: float
) -> list[Coordinates]:
    """Measure the networks that a function of the user's makes."""
    import torch

    from isoflop.workers.coordinates import measure, of_function

    make = _function(place)
    measured = []
    for seed in range(seeds):
        for size in sizes:
            torch.manual_seed(seed)
            trained = of_function(_made(make, place, axis, size), learning_rate=learning_rate, seed=seed)
            measured.append(measure(trained, size, steps=steps, by_kind=axis == "depth"))
    return measured


def _made(make: Callable[..., object], place: str, axis: str, size: int) -> object:
    """Return what a function of the user's makes of a size.

    Raises
    ------
    UsageError : when it does not take the size, takes more than that, or fails
    """
    import inspect

    from isoflop.lakehouse.errors import UsageError

    try:
        inspect.signature(make).bind(**{axis: size})
    except TypeError as error:
        raise UsageError(
            f"'{place}' is called as {make.__name__}({axis}={size}), and {error}",
            hint=f"def {make.__name__}({axis}): …, with defaults for the rest",
        ) from error
    try:
        return make(**{axis: size})
    except Exception as error:
        raise UsageError(f"{make.__name__}({axis}={size}) has failed: {type(error).__name__}: {error}") from error


def _function(place: str) -> Callable[..., object]:
    """Return the function of `module:function`, looked for in this folder first."""
    import sys

    from isoflop.lakehouse.errors import UsageError
    from isoflop.workers.commands.entry import function_at

    sys.path.insert(0, str(Path.cwd()))
    try:
        return function_at(place)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"'{place}' cannot be loaded: {error}", hint="module:function, in this folder or installed"
        ) from error
    finally:
        sys.path.remove(str(Path.cwd()))


def _answer(found: Sequence[LayerCheck], axis: str) -> Any:
    """Return a row a layer, and a note on what it comes to."""
    from dataclasses import asdict

    import pyarrow as pa

    from isoflop.lakehouse import Answer
    from isoflop.workers.coordinates import FLAT

    rows = [
        {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(each).items()}
        for each in found
    ]
    failed = [f"{each.layer} {each.verdict}" for each in found if each.verdict in FAILED]
    unsure = [each.layer for each in found if each.verdict == "unsure"]
    if failed:
        said = f"fails: {', '.join(failed)} with {axis}; a learning rate found at one {axis} is not that of another"
    elif unsure:
        said = f"unsure of {', '.join(unsure)}; more sizes, --seeds or --steps say more"
    else:
        most = "shrink faster than 1 / depth" if axis == "depth" else "shrink"
        said = f"passes: no layer's outputs grow with {axis} beyond a power of {FLAT:g}, and no changes grow or {most}"
    return Answer(pa.Table.from_pylist(rows), notes=(said,))


def _figure(measured: Sequence[Coordinates], found: Sequence[LayerCheck], axis: str) -> Figure:
    """Return the change of each layer over the sizes, those that fail by name."""
    import numpy as np

    from isoflop.cli.plot.figure import Axis, Figure, Line

    sizes = sorted({each.size for each in measured})
    lines = []
    for number, layer in enumerate(found):
        values = [
            np.exp(np.mean([np.log(each.change[layer.layer][-1]) for each in measured if each.size == size]))
            for size in sizes
        ]
        tone = number / max(1, len(found) - 1)
        name = f"{layer.layer} {layer.verdict}" if layer.verdict != "pass" else layer.layer
        lines.append(Line(np.array(sizes, float), np.array(values), name, tone, is_thin=True))
    last = max(len(values) for each in measured for values in each.change.values()) - 1
    title = f"change of what each layer puts out, after {last} steps"
    return Figure(title, Axis(axis), Axis("root mean square of the change"), tuple(lines))
