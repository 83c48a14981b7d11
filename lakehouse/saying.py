"""Words for the user on stderr, which may be a broken pipe or a full disk: no reason to end anybody's training."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Say something that is not an answer, where there is somebody to hear it; never raises."""
    with contextlib.suppress(OSError, ValueError):
        print(f"isoflop: {text}", file=sys.stderr, flush=True)
