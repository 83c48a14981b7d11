"""The loss of a student that learns from a teacher, by the teacher's loss and the student's size and tokens.

    loss = L_T + (1 + (L_T / (d_1 * L_S)) ^ (1 / f_1)) ^ (-c_1 * f_1) / L_T ^ c_0
               * (A / params ^ alpha + B / tokens ^ beta) ^ gamma

L_T is `teacher_loss`. L_S is `supervised_loss`, what the same student reaches on as many tokens without a teacher:
measured, or predicted by a law that was fitted before, such as `chinchilla`. The better the teacher, the farther the
student stays behind it, by c_0. Where the teacher is poorer than d_1 times what the student reaches alone, the law
bends, over f_1 factors of e, and the student comes closer to it. All coefficients are positive.

Runs with one teacher do not tell c_0 from A and B, nor where the bend is. Where the rows lie on one side of it, c_1
and d_1 grow together, and the fit says so.

>>> import numpy as np
>>> one = np.array([1.5, 2.0, 0.9, 0.1, 2000.0, 1e4, 0.35, 0.4, 0.6])
>>> rows = np.array([[2.0, 2.6, 3e8, 2e10], [2.3, 2.6, 3e8, 2e10], [2.6, 2.6, 3e8, 2e10]])  # ever poorer teachers
>>> DISTILLATION.predict(one, rows).round(3)
array([2.647, 2.782, 2.946])
"""

from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent, free

STRONGEST = 1e4  # c_1 [1], which grows without end with d_1 where the rows do not show the bend
SHARPEST, SMOOTHEST = 0.02, 5.0  # width of the bend in log(teacher_loss) [1]: a kink, and more than losses span
SHARP, BLUNT = (
    0.1,
    3.0,
)  # gamma [1]: the sum of the terms is nearly their maximum below, and published ones lie below 1
_BEND = (
    free("c_0", 0.0),
    free("c_1", 0.0, STRONGEST),
    free("d_1", 0.0),
    free("f_1", SHARPEST, SMOOTHEST),
)
_POWERS = (exponent("alpha"), exponent("beta"), Coefficient("gamma", Role.FREE, SHARP, BLUNT))
_TEACHER = (
    "teacher_loss + (1 + (teacher_loss / (d_1 * supervised_loss)) ^ (1 / f_1)) ^ (-c_1 * f_1) / teacher_loss ^ c_0 * "
)

DISTILLATION = Formula(
    name="distillation",
    law=_TEACHER + "(A / params ^ alpha + B / tokens ^ beta) ^ gamma",  # loss [nat/token]
    inputs=(
        Input("teacher_loss", "nat/token"),
        Input("supervised_loss", "nat/token"),
        Input("params", "count"),
        Input("tokens", "count"),
    ),
    coefficients=(*_BEND, amplitude("A"), amplitude("B"), *_POWERS),
    source="Busbridge et al. 2025 (arXiv:2502.08606), eq. 8",
    chart=Chart(  # what each term adds is of the size of a loss, and moves less with gamma
        law=_TEACHER + "(A_gamma ^ (1 / gamma) / params ^ alpha + B_gamma ^ (1 / gamma) / tokens ^ beta) ^ gamma",
        coefficients=(*_BEND, amplitude("A_gamma"), amplitude("B_gamma"), *_POWERS),
        back=(("A", "A_gamma ^ (1 / gamma)"), ("B", "B_gamma ^ (1 / gamma)")),
        forth=(("A_gamma", "A ^ gamma"), ("B_gamma", "B ^ gamma")),
    ),
)
