"""Coordinate check: how large what each layer puts out is, and how far it moves, against width or depth.

Under a parametrization whose learning rate carries over, every layer's outputs and their change in the first steps are
as large in a wide network as in a narrow one. Each is fitted as a power of the size: an exponent near zero passes.

Source: Yang et al. 2022 (arXiv:2203.03466), appendix D.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError

if TYPE_CHECKING:
    import torch

    from isoflop.workers.families.gradient import GradientFamily

FLAT = 0.25  # largest exponent that passes: half of 1/2, the smallest that a wrong scale brings
SURE = 2.0  # standard errors between an exponent and FLAT, within which nothing is said
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # of a layer among its like, `blocks.3.norm`


@dataclass(frozen=True)
class Trained:
    """A network with what the check does with it.

    Parameters
    ----------
    model : whose layers are measured
    look : runs it on one batch, always the same
    step : updates its weights once
    """

    model: torch.nn.Module
    look: Callable[[], object]
    step: Callable[[], None]


@dataclass(frozen=True)
class Coordinates:
    """What one network's layers put out over its first steps.

    Parameters
    ----------
    size : width or depth
    scale, change : layer to (T + 1,) root mean squares of its outputs, and of their difference from step 0
    """

    size: int
    scale: Mapping[str, NDArray[np.float64]]
    change: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class LayerCheck:
    """The exponents of one layer after the last step: its outputs and their change go as size to these powers.

    `verdict` is `pass`; `grows` or `shrinks`, of the change, or of outputs that grow; or `unsure`, where the exponent
    is less than two standard errors from what passes and what does not.
    """

    layer: str
    scale_slope: float
    scale_error: float
    change_slope: float
    change_error: float
    verdict: str


def measure(trained: Trained, size: int, *, steps: int, by_kind: bool = False) -> Coordinates:
    """Train a network for some steps and return what its layers put out before and after each.

    Parameters
    ----------
    steps : T
    by_kind : whether layers that differ in their number are one, as networks of several depths need
    """
    seen = [_outputs(trained)]
    for _ in range(steps):
        trained.step()
        seen.append(_outputs(trained))
    kinds: dict[str, list[str]] = {}
    for name in seen[0]:
        kinds.setdefault(_NUMBER.sub("*", name) if by_kind else name, []).append(name)
    first = seen[0]
    return Coordinates(
        size,
        {kind: np.array([_rms([each[name] for name in names]) for each in seen]) for kind, names in kinds.items()},
        {
            kind: np.array([_rms([each[name] - first[name] for name in names]) for each in seen])
            for kind, names in kinds.items()
        },
    )


def check(measured: Sequence[Coordinates], *, may_shrink: float = 0.0) -> list[LayerCheck]:
    """Return the exponents of every layer, over networks of at least two sizes.

    Parameters
    ----------
    may_shrink : power of 1 / size that changes may fall by; 1 over depth, where each of L layers adds 1 / L

    Raises
    ------
    UsageError : with one size, or networks whose layers differ in name
    """
    sizes = np.log([each.size for each in measured])
    if len(np.unique(sizes)) < 2:
        raise UsageError("a coordinate check compares networks of at least two sizes", hint="--widths 64,128,256")
    layers = dict.fromkeys(name for each in measured for name in each.scale)
    lacking = [name for name in layers if any(name not in each.scale for each in measured)]
    if lacking:
        raise UsageError(f"layer '{lacking[0]}' is not in networks of every size", hint="name layers alike at any size")
    found = []
    for layer in layers:
        scale = _exponent(sizes, np.array([each.scale[layer][-1] for each in measured]))
        change = _exponent(sizes, np.array([each.change[layer][-1] for each in measured]))
        found.append(LayerCheck(layer, *scale, *change, verdict=_verdict(scale, change, may_shrink)))
    return found


def _exponent(sizes: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of log values over log sizes with its standard error; NaN where nothing moved."""
    if not np.all(np.isfinite(values) & (values > 0)):
        return float("nan"), float("nan")
    logs, across = np.log(values), sizes - sizes.mean()
    slope = float(across @ logs / (across @ across))
    residuals = logs - logs.mean() - slope * across
    spare = len(sizes) - 2
    error = float(np.sqrt(residuals @ residuals / spare / (across @ across))) if spare > 0 else float("nan")
    return slope, error


def _verdict(scale: tuple[float, float], change: tuple[float, float], may_shrink: float) -> str:
    """Return what the exponents say: outputs may shrink, as first logits do; changes by `may_shrink` and no more."""
    if not np.isfinite([change[0], scale[1], change[1]]).all():  # two points leave no error to judge by
        return "unsure"
    for slope, error in (scale, change):
        if slope - SURE * error > FLAT:
            return "grows"
    if change[0] + SURE * change[1] < -FLAT - may_shrink:
        return "shrinks"
    return "pass" if -FLAT - may_shrink <= change[0] <= FLAT and scale[0] <= FLAT else "unsure"


def _outputs(trained: Trained) -> dict[str, torch.Tensor]:
    """Return what every layer puts out on the batch; the network as a whole, and what puts out no tensor, are none."""
    import torch

    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: object, __: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.ndim > 0 and output.is_floating_point():
                seen[name] = output.detach().double().cpu()

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in trained.model.named_modules() if name]
    try:
        with torch.no_grad():
            trained.look()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _rms(tensors: Sequence[torch.Tensor]) -> float:
    return float(np.sqrt(np.mean([float(tensor.square().mean()) for tensor in tensors])))


def of_family(family: GradientFamily) -> Trained:
    """Return a run's network with its own optimizer, batches and first weights, at the peak of its learning rate."""
    import torch

    from isoflop.workers.devices import Cpu
    from isoflop.workers.gradient_training import Trainer
    from isoflop.workers.timing import HostClock

    corpus, device = family.open_corpus(), Cpu()
    trainer, clock = Trainer(family, device), HostClock(is_cpu_time=True)
    batches: Iterator[Any] = family.batches(corpus)
    probe = torch.from_numpy(next(batches))

    def step() -> None:
        clock.begin_step()
        trainer.step(torch.from_numpy(next(batches)), family.optimizer.learning_rate, clock)

    return Trained(trainer.model, lambda: family.loss(trainer.model, probe), step)


def of_function(made: object, *, learning_rate: float, seed: int) -> Trained:
    """Return the network that a function of the user's has made.

    Parameters
    ----------
    made : a module, or a tuple of it with its optimizer, a batch of its inputs, or both; an Adam of `learning_rate`
        and standard normal inputs where they are not given. A module that returns a scalar returns its loss, any
        other is trained to put out fixed random numbers.

    Raises
    ------
    UsageError : if no module is among it, it has no weights, or its first layer does not say what it takes in
    """
    import torch
    from torch import nn

    parts = made if isinstance(made, tuple) else (made,)
    model = next((part for part in parts if isinstance(part, nn.Module)), None)
    if model is None:
        raise UsageError(f"the function has returned {type(made).__name__}", hint="return a torch.nn.Module")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UsageError("the network has no weights that are trained", hint="layers of size 0, or frozen ones")
    optimizer = next((part for part in parts if isinstance(part, torch.optim.Optimizer)), None)
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=learning_rate)
    given = next((part for part in parts if isinstance(part, torch.Tensor)), None)
    generator = torch.Generator().manual_seed(seed)
    inputs = _usual_inputs(model, generator) if given is None else given
    with torch.no_grad():
        shape = model(inputs).shape
    wanted = torch.randn(shape, generator=generator)

    def step() -> None:
        outputs = model(inputs)
        loss = outputs if outputs.ndim == 0 else (outputs - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Trained(model, lambda: model(inputs), step)


ROWS = 64  # inputs of a batch that is drawn


def _usual_inputs(model: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
    import torch
    from torch import nn

    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            return torch.randn(ROWS, layer.in_features, generator=generator)
        if isinstance(layer, nn.Embedding):
            return torch.randint(layer.num_embeddings, (ROWS, 16), generator=generator)
    raise UsageError(
        "what the network takes in is not known: its first layer is neither Linear nor Embedding",
        hint="return (module, batch), a batch of its inputs beside it",
    )
