"""What the reference says of one verb beyond its grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Page:
    """One verb of the reference.

    Parameters
    ----------
    verb : its rule in `grammar.VERBS`
    purpose : what it is for, and what is not obvious about it
    sample : a statement with the verb and nothing around it, over published runs; empty when it has no rows
    columns : what it answers with, in order: name -> meaning with unit. `<target>` stands for the target's name,
        a name with a blank in it for columns that are named elsewhere
    options : keys of its WITH list
    defaults : what a key is without it, where that is not what `describe_option` says
    examples : statements whose answers are shown
    mistakes : statements whose errors are shown
    """

    verb: str
    purpose: str
    sample: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
