"""The first words with the keeper of a lake: whether it can open it, and what it finds there."""

from __future__ import annotations

import time

from isoflop.lakehouse.rpc.access import Access
from isoflop.lakehouse.rpc.client import LakeClient, as_raised
from isoflop.lakehouse.rpc.endpoint import KeeperGone, KeeperSilent
from isoflop.lakehouse.rpc.starting import NoKeeper
from isoflop.lakehouse.saying import say

WAIT_FOR_OPENING = 2.0  # seconds that opening waits for a process which has the file and may let go of it soon
LONGEST_HELLO = 15.0  # seconds that a keeper may take to open the lake before training begins without it


def greet(access: Access) -> None:
    """Have the keeper open the lake, for some seconds also where another process has it; say what it finds.

    Raises
    ------
    StoreError : if it cannot be opened, for a reason that does not pass by itself
    """
    until = time.monotonic() + WAIT_FOR_OPENING
    while True:
        try:
            access.resolve(LONGEST_HELLO)
            said = access.ask(lambda backend, _: _keeper(access).hello(LONGEST_HELLO))
        except NoKeeper as error:
            if error.__cause__ is not None:  # none can be started at all
                raise
            say(f"{error.message}; what is recorded waits in {access.spool_folder}")
            return
        # It died, or waits for what does not answer: training goes on.
        except (KeeperGone, KeeperSilent) as error:
            said = {"is_open": False, "passes": True, "error": {"message": error.message}}
        if said["is_open"]:
            access.is_new = access.is_new or said["is_new"]
            say_lost(int(said["lost"]))
            return
        if not said["passes"]:
            access.close()
            raise as_raised(said["error"])
        if time.monotonic() > until:
            message, waits = said["error"]["message"], f"what is recorded waits in {access.spool_folder} until then"
            say(f"{message}; {waits}")
            return
        time.sleep(0.1)


def say_lost(lost: int) -> None:
    """Say how many attempts were found whose process has died."""
    if lost:
        attempts = "attempt" if lost == 1 else "attempts"
        say(f"{lost} {attempts} whose process died, marked as lost")


def _keeper(access: Access) -> LakeClient:
    client = access.client
    if client is None:
        raise KeeperGone(access.path, 0)
    return client
