"""Many starts, one certificate: how many of them end in the best basin, and how good the next one is.

Every start descends through smoother versions of the objective first. Starts that meet on the way are one start
from then on, so a grid of thousands costs little more than its first stage. Smoothing finds the wide bowls and may
hide a narrow one, and starts that it brought together, or that were chosen for their misfit, are no independent
witnesses. So random points of the law's domain also go straight to the objective: they may end in a better place, and
only they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.solver.faces import starts_beyond_faces
from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.fitting.solver.newton import BLOCK_VALUES, LAST_STEPS, TIGHT, Descent, descend, descend_to_rest
from isoflop.queries.laws.objectives import Objective

Counts = NDArray[np.int64]

SAME_BASIN = 1e-4  # relative difference in objective [1] below which two ends count as one basin
ON_ITS_WAY = 1e-3  # the same of a descent that ran out of steps in a valley that bends
SAME_PREDICTION, SAME_VALUE = 1e-4, 1e-3  # largest residual difference [1], relative objective: two starts have met
ROUNDING = 1e-26  # objective in units of the total weight [1]: residuals of 1e-13
EXACT = 1e-18  # the same up to which nothing measured tells two ends apart: residuals of 1e-9
MOST_COMPARED = 64  # rows on which predictions are compared
FIRST_STEPS, LATER_STEPS = 40, 8  # from a start far away; from the end of the stage before, which lies near
FIRST_EXACT_STAGE = 3  # Huber below 3e-3 is nearly an absolute value, along whose kinks the parabola only crawls
MANY_STARTS, COARSE_ROWS = 500, 64  # from so many starts on, the first stage is content with so many rows
CROWD = 8  # starts up to which none is dropped
CERTAIN = 8  # starts at rest in the best basin that make it not worth waiting for slower ones
RACE_STEPS, SECOND_RACE_STEPS = 12, 28  # exact steps after which starts are compared
HOPELESS = 4.0  # objective in units of the best one [1] from which a start that still descends is left where it is
STRAIGHT = 32  # starts that go straight to the objective: enough to tell a basin of a tenth of them
CONTESTED = 0.25  # share of the counted starts [1] below which more is searched around the best ends
MOST_STRAIGHT = 128  # starts that tell a basin of a thirtieth
# So many starts are counted, and no more where such a share [1] agrees: within a factor of two, all but surely. How
# far up parabolas may leave one that is followed, and exact steps of it: where few agree it may be a long way to go.
ROUNDS = (
    (16, 0.6, HOPELESS, RACE_STEPS),
    (STRAIGHT, CONTESTED, np.inf, LAST_STEPS),
    (MOST_STRAIGHT, 0.0, np.inf, LAST_STEPS),
)
HOPPED, HOPS, MOST_HOPS = 4, 24, 4  # ends that are left, starts around them, and how often
STRAIGHT_COSTLY = 8  # of a law that takes milliseconds to evaluate
NEARLY = 1.2  # the same of starts that begin at the best end but for one term, and of those worth many steps
LOOSE = 1e-5  # relative decrease [1] that ends an early stage


@dataclass(frozen=True)
class Found:
    """The best point of a search and how sure it is.

    Parameters
    ----------
    theta : (K,) coordinates of the best end
    objective : sum over rows there
    is_settled : whether the descent that found it converged
    share : fraction of the random starts that went straight to the objective which ended within 1e-4 relative of the
        best, or within 1e-3 and still descending
    second_best : objective of the next basin a start ended in, or None when there is no other
    starts : number of starts
    ends : (M, K) best coordinates of the M distinct basins, best first
    rival : (K,) where the next basin has its best end, or None when there is no other
    """

    theta: Array
    objective: float
    is_settled: bool
    share: float
    second_best: float | None
    starts: int
    ends: Array
    rival: Array | None = None


def search(
    model: Model,
    starts: Array,
    weights: Array,
    targets: Array,
    objective: Objective,
    *,
    is_near: bool = False,
    straight: Array | None = None,
) -> Found | None:
    """Descend from all starts and return the best end, or None when no start has a finite objective.

    Parameters
    ----------
    model : law on R rows
    starts : (S, K) coordinates
    weights, targets : (1, R) each
    is_near : whether the starts are optima of some of the rows, which need only the least smooth stage before the last
    straight : (M, K) random coordinates to go straight to the objective from, which are counted: some of them, and all
        where few of those agree; some of the starts when None
    """
    count, everywhere = len(starts), starts
    members = np.ones(count, dtype=np.int64)
    smoothers = list(enumerate(objective.graduation()))
    for stage, smoother in smoothers[-1:] if is_near else smoothers:
        steps = LATER_STEPS if stage else FIRST_STEPS
        ended = descend(
            model,
            starts,
            weights if stage or count < MANY_STARTS else _on_some_rows(weights, targets),
            targets,
            smoother,
            exact=stage >= FIRST_EXACT_STAGE,
            max_steps=steps,
            tolerance=LOOSE,
        )
        kept, members = _merged(model, ended, members, targets)
        starts = ended.theta[kept]
        if not len(starts):
            return None
    ended, members = _raced_to_rest(model, starts, members, weights, targets, objective)
    if not is_near:
        members = np.zeros_like(members)
        if straight is None:
            straight = _evenly(everywhere, STRAIGHT_COSTLY if model.is_costly else STRAIGHT)
            straight = straight[np.random.default_rng(0).permutation(len(straight))]  # they are in order of merit
        ended, members = _counted(model, straight, ended, members, (weights, targets, objective))
    if not is_near and not model.is_costly and len(ended.theta):
        ended = _extended(model, ended, members, weights, targets, objective)
        members = np.pad(members, (0, len(ended.theta) - len(members)))  # the others are not counted
    order = np.argsort(ended.objective, kind="stable")
    values, points = ended.objective[order], ended.theta[order]
    if not len(values) or not np.isfinite(values[0]):
        return None
    agree = _agree(values, ended.is_settled[order]) | (values <= EXACT * float(weights.sum()))
    others = np.flatnonzero(~agree & np.isfinite(values) & ended.is_settled[order])
    return Found(
        theta=points[0],
        objective=float(values[0]),
        is_settled=bool(ended.is_settled[order][0]),
        share=float(members[order][agree].sum() / max(members.sum(), 1)),
        second_best=float(values[others[0]]) if others.size else None,
        starts=count,
        ends=_distinct(points[np.isfinite(values)], values[np.isfinite(values)]),
        rival=points[others[0]] if others.size else None,
    )


def _counted(
    model: Model, points: Array, ended: Descent, members: Counts, of: tuple[Array, Array, Objective]
) -> tuple[Descent, Counts]:
    """Ends and those of random points, which go straight to the objective: the fewer agree, the more of them.

    Parameters
    ----------
    points : (M, K) in the order in which they are taken
    ended, members : ends so far, and how many counted starts each stands for
    of : weights, targets and objective
    """
    taken = 0
    for count, enough, hopeless, steps in ROUNDS[-1:] if model.is_costly else ROUNDS:
        if taken < min(count, len(points)):
            least = float(np.min(ended.objective, initial=np.inf))
            more, counts = _straight(model, points[taken:count], *of, least, hopeless, steps)
            members, ended, taken = np.concatenate([members, counts]), _both(ended, more), count
        if _share(ended, members) >= enough:
            break
    return ended, members


def _straight(
    model: Model,
    starts: Array,
    weights: Array,
    targets: Array,
    objective: Objective,
    best: float = np.inf,
    hopeless: float = HOPELESS,
    steps: int = LAST_STEPS,
) -> tuple[Descent, Counts]:
    """Descend from starts on the objective itself, by parabolas, which hold far away, then exactly.

    Parameters
    ----------
    best : objective that is known to be reached
    hopeless : objective in units of the best one from which a start is left where the parabolas end
    steps : exact ones of each, after which those that are nearly as low as the best go on

    Returns
    -------
    where the starts ended, and how many each stands for
    """
    near = descend(model, starts, weights, targets, objective, exact=False, max_steps=FIRST_STEPS, tolerance=LOOSE)
    kept, members = _merged(model, near, np.ones(len(starts), dtype=np.int64), targets)
    ended = Descent(near.theta[kept], near.objective[kept], np.zeros(len(kept), dtype=bool))
    good = np.flatnonzero(ended.objective <= hopeless * np.min(ended.objective, initial=best))
    if not good.size:
        return ended, members
    points = ended.theta[good]
    _put(ended, good, descend(model, points, weights, targets, objective, exact=True, max_steps=steps, tolerance=TIGHT))
    worth = NEARLY * np.min(ended.objective, initial=best)
    slow = np.flatnonzero(~ended.is_settled & (ended.objective <= worth))
    if slow.size:
        _put(ended, slow, descend_to_rest(model, ended.theta[slow], weights, targets, objective))
    return ended, members


def _evenly(points: Array, count: int) -> Array:
    """At most so many of the points, evenly among them."""
    some: Array = points[np.unique(np.linspace(0, len(points) - 1, count).astype(int))]
    return some


def _extended(
    model: Model, ended: Descent, members: Counts, weights: Array, targets: Array, objective: Objective
) -> Descent:
    """Ends of descents, and more: from beyond the zero faces, and around the best ends where few starts agree."""
    best, least = ended.theta[np.argmin(ended.objective)], float(np.min(ended.objective))
    beyond = starts_beyond_faces(model, best, weights, targets)
    if len(beyond):
        ended = _both(ended, _straight(model, _evenly(beyond, STRAIGHT), weights, targets, objective, least, NEARLY)[0])
        members = np.pad(members, (0, len(ended.theta) - len(members)))
    if _share(ended, members) < CONTESTED:
        ended = _both(ended, _hopped(model, ended, weights, targets, objective))
    return ended


def _put(ended: Descent, at: NDArray[np.intp], longer: Descent) -> None:
    """Put descents that went on in the place of those they began at."""
    ended.theta[at], ended.objective[at], ended.is_settled[at] = longer.theta, longer.objective, longer.is_settled


def _share(ended: Descent, members: Counts) -> float:
    """Share of the counted starts that ended in the best basin."""
    agree = _agree(ended.objective, ended.is_settled)
    return float(members[agree].sum() / max(members.sum(), 1))


def _agree(values: Array, is_settled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which ends are in the best basin: as low, or nearly and still on their way."""
    return np.asarray(values <= np.min(values) * (1 + np.where(is_settled, SAME_BASIN, ON_ITS_WAY)))


def _hopped(model: Model, ended: Descent, weights: Array, targets: Array, objective: Objective) -> Descent:
    """Descend from around the best ends, and from around what that finds, until nothing better comes."""
    generator = np.random.default_rng(len(ended.theta))
    found = Descent(np.empty((0, ended.theta.shape[1])), np.empty(0), np.empty(0, dtype=bool))
    for _ in range(MOST_HOPS):
        known = _both(ended, found)
        order = np.argsort(known.objective, kind="stable")
        best = float(known.objective[order[0]])
        around = scattered(model, _distinct(known.theta[order], known.objective[order])[:HOPPED], HOPS, generator)
        found = _both(found, _straight(model, around, weights, targets, objective, best)[0])
        if not np.min(found.objective) < best * (1 - SAME_BASIN):
            break
    return found


def scattered(model: Model, points: Array, count: int, generator: np.random.Generator) -> Array:
    """Return random points (count, K) around points (S, K), wide enough to find another basin if there is one."""
    base = points[generator.integers(0, len(points), count)]
    width = np.where(model.is_log, 1.0, 0.3 * np.maximum(np.abs(base), 0.2))
    moved: Array = np.clip(base + width * generator.standard_normal(base.shape), model.lower, model.upper)
    return moved


def _both(first: Descent, second: Descent) -> Descent:
    """Two batches as one."""
    return Descent(
        np.concatenate([first.theta, second.theta]),
        np.concatenate([first.objective, second.objective]),
        np.concatenate([first.is_settled, second.is_settled]),
    )


def _on_some_rows(weights: Array, targets: Array) -> Array:
    """Weights (1, R) that are zero but for rows spread evenly over the targets: they show which bowl a start is in."""
    order = np.argsort(targets[0], kind="stable")
    kept = np.zeros(len(order), dtype=bool)
    kept[order[np.linspace(0, len(order) - 1, COARSE_ROWS).astype(int)]] = True
    return np.where(kept, weights, 0.0)


def _raced_to_rest(
    model: Model, starts: Array, members: Counts, weights: Array, targets: Array, objective: Objective
) -> tuple[Descent, Counts]:
    """Descend from starts of one problem until the good ones rest; the hopeless ones stop early.

    A start in a bent valley takes hundreds of steps to converge: it is waited for only where it is near the best
    one and the best one is not certain yet. Starts left behind count as not agreeing. Objectives close to an absolute
    value are left alone: along their kinks every start looks hopeless for a while.

    Returns
    -------
    where the starts ended, and how many each stands for: those that met on the way are one
    """
    stages = len(objective.graduation())
    if stages > FIRST_EXACT_STAGE or len(starts) <= CROWD:
        return descend_to_rest(model, starts, weights, targets, objective), members
    ended = descend(
        model,
        starts,
        weights,
        targets,
        objective,
        exact=True,
        max_steps=RACE_STEPS if stages else FIRST_STEPS,
        tolerance=TIGHT,
    )
    for steps in (SECOND_RACE_STEPS, None):
        kept, members = _merged(model, ended, members, targets)
        ended = Descent(ended.theta[kept], ended.objective[kept], ended.is_settled[kept])
        best = np.min(ended.objective, initial=np.inf)
        arrived = ended.is_settled & (ended.objective <= best * (1 + SAME_BASIN))
        near = np.flatnonzero(~ended.is_settled & (ended.objective <= HOPELESS * best))
        if not near.size or not np.isfinite(best) or (steps is None and members[arrived].sum() >= CERTAIN):
            break
        if steps is None:
            longer = descend_to_rest(model, ended.theta[near], weights, targets, objective)
        else:
            longer = descend(
                model,
                ended.theta[near],
                weights,
                targets,
                objective,
                exact=True,
                max_steps=steps,
                tolerance=TIGHT,
            )
        _put(ended, near, longer)
    return ended, members


def _merged(model: Model, ended: Descent, members: Counts, targets: Array) -> tuple[Counts, Counts]:
    """Positions of one representative of the starts that have met, the lowest, and how many each stands for.

    Descents have met when they predict the same: coordinates of a dead term differ without meaning anything.
    """
    order = np.argsort(ended.objective, kind="stable")[: int(np.isfinite(ended.objective).sum())]
    theta, value, members = ended.theta[order], ended.objective[order], members[order]
    some = np.unique(np.linspace(0, targets.shape[1] - 1, MOST_COMPARED).astype(int))
    predicted = _predictions(model, theta, targets)[:, some]
    kept: list[int] = []
    counts: list[int] = []
    first = 0  # of the kept ones whose objective is close enough to be the same
    for start in range(len(theta)):
        while first < len(kept) and value[kept[first]] < value[start] * (1 - SAME_VALUE):
            first += 1
        near = kept[first:]
        apart = np.max(np.abs(predicted[near] - predicted[start]), axis=1, initial=0.0)
        same = np.flatnonzero(apart < SAME_PREDICTION)
        if same.size:
            counts[first + int(same[0])] += int(members[start])
        else:
            kept.append(start)
            counts.append(int(members[start]))
    return order[kept].astype(np.int64), np.array(counts, dtype=np.int64)


def _predictions(model: Model, theta: Array, targets: Array) -> Array:
    """Residuals (S, R), which differ between starts as their predictions do."""
    size = max(1, BLOCK_VALUES // targets.shape[1])
    with np.errstate(all="ignore"):
        parts = [model.residuals(theta[k : k + size], targets, 0)[0] for k in range(0, len(theta), size)]
    return np.concatenate(parts) if parts else np.empty((0, targets.shape[1]))


def _distinct(points: Array, values: Array) -> Array:
    """The best point of every basin, best first."""
    kept = [0]
    for k in range(1, len(points)):
        if values[k] > values[kept[-1]] * (1 + SAME_BASIN):
            kept.append(k)
    return points[kept]


def descend_all(model: Model, theta: Array, weights: Array, targets: Array, objective: Objective) -> Descent:
    """Descend from every start through all stages, without merging: one problem each."""
    for stage, smoother in enumerate(objective.graduation()):
        theta = descend(
            model,
            theta,
            weights,
            targets,
            smoother,
            exact=stage >= FIRST_EXACT_STAGE,
            max_steps=LATER_STEPS if stage else FIRST_STEPS,
            tolerance=LOOSE,
        ).theta
    return descend_to_rest(model, theta, weights, targets, objective)
