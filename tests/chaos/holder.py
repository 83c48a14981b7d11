"""A process that has a lake kept, and so its spool committed, until something kills it."""

from __future__ import annotations

import sys
import time

from isoflop.lakehouse import Lakehouse


def main() -> None:
    """Have the lake kept that is at the address of the command line; the harness starts this again when it dies."""
    while True:
        try:
            with Lakehouse(sys.argv[1], hold=True):
                while True:
                    time.sleep(1.0)
        except Exception as error:
            print(f"holder: {error}", file=sys.stderr, flush=True)
            time.sleep(0.2)


if __name__ == "__main__":
    main()
