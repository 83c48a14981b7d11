"""Linear students of a power-law teacher: what they draw, how they move, and the program that trains many."""

from isoflop.workers.families.students.draws import StudentRun, check_size, student_counts
from isoflop.workers.families.students.program import StudentProgram

__all__ = ["StudentProgram", "StudentRun", "check_size", "student_counts"]
