"""The command family: anybody's training script, whose settings are what the sweep file names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from isoflop.lakehouse.errors import RecordError, nearest
from isoflop.lakehouse.runs.given_counts import counts_given
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.workers.commands.words import WORKERS_OWN, command_text, places
from isoflop.workers.components import Scalar
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.refusal import wrong_field

ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")  # module:function
UNKNOWN_UNIT = "as `loss_unit` says"


class Command(Experiment):
    """A script or function of your own: `command`, with `{name}` for a setting, or `entry`, `module:function`.

    Its settings are what the grid and `derive` name, all of them part of the run's identity, and so is the text of the
    command. [Your own script](your_script.md) says how it logs, goes on after a crash and is stopped.
    """

    model_config = ConfigDict(extra="allow")

    name: ClassVar[str] = "command"
    open_settings: ClassVar[bool] = True
    unidentifying: ClassVar[tuple[str, ...]] = ("seed", "metrics_file", "loss_unit")
    aliases: ClassVar[Mapping[str, str]] = {"metrics": "metrics_file"}
    example: ClassVar[Mapping[str, object]] = {
        "entry": "isoflop.workers.commands.example:train",
        "width": 16,
        "steps": 20,
    }

    command: str | None = Field(default=None, description="words to run, with `{name}` for a setting; no shell")
    entry: str | None = Field(default=None, description="`module:function`, called as f(config, run); or command")
    metrics_file: str | None = Field(
        default=None, description="JSON lines or CSV that the script writes within `{output}`; also `metrics`"
    )
    loss_unit: str | None = Field(default=None, description="of the loss, for example `nat/token`; null is unknown")

    @field_validator("command", mode="before")
    @classmethod
    def _as_text(cls, given: object) -> object:
        if not isinstance(given, str | list | tuple):
            return given
        try:
            return command_text(given)
        except ValueError as error:
            raise wrong_field("command", str(error)) from None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.command is None) == (self.entry is None):
            raise wrong_field("command", "or entry is needed, and not both: what is to be run for each setting")
        if self.entry is not None and not ENTRY.fullmatch(self.entry):
            raise wrong_field("entry", f"is {self.entry!r}; it should be module:function, such as train:main")
        for name in WORKERS_OWN:
            if name in self.chosen:
                raise wrong_field(name, f"is no name for a setting: {{{name}}} is a path that the run is given")
        known = (*self.chosen, "seed", *WORKERS_OWN)
        for field, text in (("command", self.command), ("metrics_file", self.metrics_file)):
            for name in places(text or ""):
                if name not in known:
                    best = nearest(name, known)
                    hint = f"did you mean {{{best}}}?" if best else f"settings are {', '.join(known)}"
                    raise wrong_field(field, f"has {{{name}}}, which is no setting; {hint}")
        try:
            counts_given(self.chosen, {})
        except RecordError as error:
            raise wrong_field(next(iter(self.chosen), "command"), f"and others: {error.message}") from None
        return self

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that the sweep file names, without the seed."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def length(self) -> int:
        """The steps of the run; 0 where no setting called `steps` says them."""
        return self.record().steps or 0

    def metrics(self) -> Mapping[str, str]:
        """Return the loss, in the unit that is said; whatever else a script logs is kept too."""
        return {"loss": self.loss_unit or UNKNOWN_UNIT}

    def config(self) -> dict[str, Scalar]:
        """Return the settings, and what is run."""
        return {name: value for name, value in super().config().items() if value is not None}

    def extra(self) -> dict[str, Scalar]:
        """Return the unit of the loss and the file of metrics, which change no result."""
        said = {"loss_unit": self.loss_unit, "metrics_file": self.metrics_file}
        return {name: value for name, value in said.items() if value is not None}

    def record(self) -> RunRecord:
        """Return what is known of this run: settings called params, tokens, steps or flops are its counts."""
        config = self.config()
        return RunRecord(
            family=self.name, config=config, seed=self.seed, extra=self.extra(), **counts_given(self.chosen, {})
        )

    def shown(self) -> dict[str, Scalar]:
        """Return the counts that the settings say."""
        record = self.record()
        return {"params": record.params, "tokens": record.tokens, "steps": record.steps, "flops": record.flops}

    @classmethod
    def notes(cls, runs: Sequence[Experiment], read: frozenset[str]) -> list[str]:
        """Say which settings neither the command nor an expression uses."""
        commands = [run for run in runs if isinstance(run, Command) and run.command is not None]
        used = {name for run in commands for name in places(run.command or "")} | read
        if not commands or "config" in used:
            return []
        seeds = {run.seed for run in commands}
        names = dict.fromkeys(name for run in commands for name in (*run.chosen, *(["seed"] if len(seeds) > 1 else [])))
        unused = ", ".join(f"'{name}'" for name in names if name.lower() not in {each.lower() for each in used})
        if not unused:
            return []
        said = f"unused setting: the command does not use {unused}; runs that differ in nothing else do the same"
        return [f"{said}, unless the script reads it from isoflop.run().config: put {{name}} or {{config}} there"]
