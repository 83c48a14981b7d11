"""The numbers of a damped Newton descent, for both that take its steps: `newton` in NumPy and `kernels` compiled.

Kernels on disk keep the numbers they were compiled with until `kernels.py` itself is saved anew.
"""

LONGEST_STEP = 4.0  # in theta, or in multiples of theta where that is larger: farther the parabola says nothing
CALM_STEPS = 2  # consecutive steps with a relative decrease below the tolerance that end a descent
FIRST_DAMPING = 1e-3  # of the curvature's diagonal [1]: nearly a Newton step
EASED, LEAST_DAMPING = 0.2, 1e-12  # factor on the damping after a step that decreased, and how little it may be
RAISED, LEAST_RAISED = 8.0, 1e-8  # factor after one that did not, and what it acts on at least
HOPELESS_DAMPING = 1e10  # damping from which no step decreases any more
FLAT, TINY = 1e-9, 1e-30  # least diagonal in units of the largest [1], and on its own
NEGLIGIBLE = 1e-30  # objective in units of the total weight [1]: residuals of 1e-15 are rounding, not misfit
