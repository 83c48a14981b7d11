"""Looking after a lake: what it holds, whether it is whole, and making it smaller, older or another one."""

from isoflop.lakehouse.maintenance.checks import describe, find_problems

__all__ = ["describe", "find_problems"]
