"""The last step of a fit: whether its coefficients can be used, and what the user should know about them."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.queries.fitting import diagnosis
from isoflop.queries.fitting.draws import Intervals, Resampled
from isoflop.queries.fitting.mistakes import notes_on_mistakes
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.solution import Solution
from isoflop.queries.laws.law import coefficient_names

OUT_OF_STEPS = "the descent ran out of steps"
NO_START = "no start gave a finite objective; declare domains or an INIT where the law is positive"


@dataclass(frozen=True)
class Verdict:
    """Whether the coefficients of a fit can be used.

    Parameters
    ----------
    status : `converged`, `not_converged`, `singular` or `too_few_rows`
    reason : why the status is not `converged`, else None
    notes : what the user should know
    """

    status: str
    reason: str | None
    notes: tuple[Note, ...]


def judge(problem: Problem, solution: Solution, resampled: Resampled, intervals: Intervals) -> Verdict:
    """Return the verdict on a fit.

    Parameters
    ----------
    problem : law and data
    solution, resampled, intervals : what the steps before found
    """
    notes = [*diagnosis.notes_on_rows(problem.law, problem.data), *notes_on_mistakes(problem.law, problem.data)]
    if not solution.is_found:
        return _nothing(problem, notes)
    notes += _notes_on_solution(problem, solution)
    notes += resampled.notes
    names = coefficient_names(problem.law)
    notes += diagnosis.notes_on_tails(names, intervals.std_errors, intervals.lower, intervals.upper)
    is_flat = any(note.code == "constant_target" for note in notes)
    unidentified = solution.identified.unidentified
    if not solution.search.is_settled:
        return Verdict("not_converged", OUT_OF_STEPS, tuple(notes))
    if is_flat:
        return Verdict("singular", f"{problem.law.target} is constant", tuple(notes))
    if unidentified:
        return Verdict("singular", f"the rows do not determine {', '.join(unidentified)}", tuple(notes))
    return Verdict("converged", None, tuple(notes))


def _notes_on_solution(problem: Problem, solution: Solution) -> list[Note]:
    """Notes on search, identification, bounds and residuals."""
    model, free = problem.model, list(problem.free)
    coefficients = tuple(problem.coefficients[k] for k in free)
    is_convex = model.closed_form(problem.weights, problem.targets) is not None
    values, at_bound = solution.coefficients[free], solution.at_bound[free]
    share = solution.residual_scale / problem.data.scatter.size
    is_other = not is_convex and diagnosis.is_elsewhere(
        model, solution.search, problem.weights, problem.targets, solution.penalty, share
    )
    return [
        *diagnosis.notes_on_search(solution.search, is_convex, is_other),
        *diagnosis.notes_on_identification(solution.identified, coefficients),
        *diagnosis.notes_on_bounds(coefficients, values, at_bound, solution.identified.dead),
        *diagnosis.notes_on_residuals(
            solution.residuals / problem.data.scatter.size, problem.data.kept, len(free), problem.data.label
        ),
    ]


def _nothing(problem: Problem, notes: list[Note]) -> Verdict:
    """The verdict on a fit with nothing in it."""
    count, num_free = problem.data.num_distinct, len(problem.free)
    if count < num_free:
        status = "too_few_rows"
        reason = f"{count} distinct row{'s' * (count != 1)} for {num_free} coefficients; fix some or add runs"
    else:
        status, reason = "not_converged", NO_START
    return Verdict(status, reason, (*notes, Note(status, reason)))
