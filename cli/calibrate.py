"""`isoflop calibrate`: what this machine does, measured without a run and kept in the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer
    from isoflop.workers.calibration import Calibration

CROWDED = 0.5  # processors that other work keeps busy, from which on it is said


def calibrate(
    device: Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:1.")] = "auto",
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Of the processor: the cpus of the runs to be foretold.")
    ] = 1,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=60, help="That it takes, about; longer reaches larger sizes.")
    ] = 20.0,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast this machine copies, multiplies matrices, starts kernels and trains small steps.

    The rates are rows of the table `calibrations`; from the steps, `isoflop sweep FILE --dry-run` says how long runs
    take on this machine until a lake has a law of step times. Nothing else should run meanwhile.

    \b
      isoflop calibrate
      isoflop calibrate --threads 4 --seconds 60
      isoflop calibrate --device cuda --json
    """
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show
    from isoflop.workers.calibration import calibrate as measure

    form = chosen_format(format, json)
    with open_lake(lake) as opened:
        note(f"measuring for about {seconds:g} s")
        show(_kept(opened, measure(device, threads=threads, seconds=seconds)), form)


def _kept(lake: object, found: Calibration) -> Answer:
    """Keep a calibration, and return the rows that say what is not the same in all of them."""
    from dataclasses import asdict

    from isoflop.lakehouse import Answer, Lakehouse
    from isoflop.lakehouse.runs.calibrations import record_calibration

    assert isinstance(lake, Lakehouse)
    table = record_calibration(
        lake, [asdict(each) for each in found.measured], device=found.device, threads=found.threads,
        hardware=found.hardware, host_load=found.host_load,
    )  # fmt: skip
    where = f"{found.hardware.get('name')}: {found.device}, {found.threads} thread{'s' * (found.threads > 1)}"
    notes = [f"{where}; kept in calibrations"]
    if found.host_load is not None and found.host_load >= CROWDED:
        notes.append(f"other work kept {found.host_load:.1f} processors busy: calibrate again when the machine is idle")
    shown = ("quantity", "dtype", "size", "value", "typical", "unit", "repeats")
    return Answer(table.select(shown), notes=tuple(notes))
