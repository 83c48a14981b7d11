"""The noisy quadratic system in SQL: the same nodes and sums as `nqs.predict`, as list functions of DuckDB.

DuckDB has neither log1p nor expm1, whose digits the sums live on: `log1p(-z)` is written `-2 atanh(z / (2 - z))` and
`expm1(z)` is `tanh(z / 2) (exp(z) + 1)`. A value that is used twice is bound by a lambda over a list of one.
"""

from __future__ import annotations

from collections.abc import Mapping

from isoflop.queries.laws.algebra.expression import quoted, sql_number
from isoflop.queries.laws.quadratic_sums import ASYMPTOTIC, EXACT, legendre

COLUMNS = ("params", "batch", "steps")
PARAMS, BATCH, STEPS = (f"CAST({quoted(name)} AS DOUBLE)" for name in COLUMNS)


def plain_macro(name: str, known: Mapping[str, float], rate: float) -> str:
    """Return the statement that creates a fitted `nqs` as an SQL macro of params, batch and steps.

    Parameters
    ----------
    name : of the macro
    known : coefficients by name
    rate : learning rate gamma [1]
    """
    value = {key: sql_number(one) for key, one in known.items()}
    gamma = sql_number(rate)
    pull = f"{gamma} * {value['Q_1']} * exp(-{value['q']} * d.x)"
    left = f"2e0 * {STEPS} * {_log_contraction('d.z')}"
    bias = f"{sql_number(0.5 * known['P_1'])} * exp(-{value['p']} * d.x) * exp(d.l)"
    gain = f"{sql_number(0.5 * rate * known['R_1'])} / {BATCH} * exp(-{value['r']} * d.x) / (2e0 - d.z)"
    nodes = _each(_nodes(), f"{{'x': d.x, 'w': d.w, 'z': {pull}}}")
    nodes = _each(nodes, f"{{'x': d.x, 'w': d.w, 'z': d.z, 'l': {left}}}")
    each = f"d.w * ({bias} - {gain} * {_expm1('d.l')})"
    return _macro(name, f"{_rest(known)} + list_sum({_each(nodes, each)})")


def regularized_macro(name: str, known: Mapping[str, float], rate: float, weight_scale: float) -> str:
    """Return the statement that creates a fitted `nqs_regularised` as an SQL macro of params, batch and steps.

    Parameters
    ----------
    name, known, rate : as for `plain_macro`
    weight_scale : standard deviation of weights at the start [1]
    """
    value = {key: sql_number(one) for key, one in known.items()}
    gamma, at_start = sql_number(rate), f"{sql_number(weight_scale**2)} * {PARAMS}"
    interval = (
        f"CASE WHEN {STEPS} > 1e1 THEN greatest(floor({STEPS} / 1e2), least(1e3, floor({STEPS} / 1e1))) ELSE 1e0 END"
    )
    nodes = _each(
        _nodes(),
        f"{{'w': d.w, 'o': d.o, 'c': {value['Q_1']} * exp(-{value['q']} * d.x), "
        f"'e': {value['P_1']} * exp(-{value['p']} * d.x) / ({value['Q_1']} * exp(-{value['q']} * d.x)), "
        f"'n': {value['R_1']} * exp(-{value['r']} * d.x) / {BATCH}, 'l': 0e0, 'v': 0e0}}",
    )
    start = f"{{'d': {nodes}, 'rate': {gamma}, 'done': 0e0}}"
    taken = f"least({interval}, {STEPS} - s.done)"
    kept = "'w': d.w, 'o': d.o, 'c': d.c, 'e': d.e, 'n': d.n"
    moved = _each(
        "s.d", f"{{{kept}, 'l': d.l, 'v': d.v, 'z': s.rate * d.c, 'a': {_log_contraction('s.rate * d.c')} * {taken}}}"
    )
    moved = _each(
        moved,
        f"{{{kept}, 'l': d.l + d.a, 'v': d.v * (1e0 + {_expm1('2e0 * d.a')}) - "
        f"s.rate * {_expm1('2e0 * d.a')} / (d.c * (2e0 - d.z))}}",
    )
    grown = "d.o * (d.e * (1e0 - exp(d.l)) ** 2 + d.n * d.v)"
    norm = f"greatest(list_sum({_each('m', grown)}), 0e0)"
    slower = f"least(s.rate, {gamma} * {at_start} / ({at_start} + {norm}))"
    step = _bound(moved, f"{{'d': m, 'rate': {slower}, 'done': s.done + {taken}}}")
    count = f"CAST(ceil({STEPS} / ({interval})) AS BIGINT)"
    end = f"list_reduce(list_resize([{start}], {count} + 1), lambda s, k: {step})"
    rest = "d.w * 0.5e0 * d.c * (d.e * exp(2e0 * d.l) + d.n * d.v)"
    learned = _each(f"({end}).d", rest)
    return _macro(name, f"{_rest(known)} + list_sum({learned})")


def _macro(name: str, body: str) -> str:
    parameters = ", ".join(quoted(column) for column in COLUMNS)
    return f"CREATE OR REPLACE MACRO {quoted(name)}({parameters}) AS ({body})"


def _each(values: str, body: str) -> str:
    """SQL of a list with `body` for each `d` of another."""
    return f"list_transform({values}, lambda d: {body})"


def _bound(value: str, body: str) -> str:
    """SQL of `body` with `m` for a value."""
    return f"list_transform([{value}], lambda m: {body})[1]"


def _expm1(of: str) -> str:
    return f"(tanh(({of}) / 2e0) * (exp({of}) + 1e0))"


def _log_contraction(of: str) -> str:
    """SQL of log |1 - z| without loss of digits for small z."""
    return f"(CASE WHEN {of} < 0.5e0 THEN -2e0 * atanh({of} / (2e0 - {of})) ELSE ln(abs(1e0 - {of})) END)"


def _nodes() -> str:
    """SQL of `quadratic_sums.nodes_for`: logarithm x, weight w, weight o without the correction at ends."""
    total = f"greatest({PARAMS}, 1e0)"
    exact = f"least(floor({total}), {sql_number(EXACT)})"
    low, high = f"ln({exact})", f"ln({total})"
    summed = (
        f"list_transform(range(1, {EXACT + 1}), lambda n: {{'x': ln(n), "
        f"'w': CASE WHEN n < {exact} THEN 1e0 WHEN n = {exact} THEN 0.5e0 ELSE 0e0 END, "
        f"'o': CASE WHEN n <= {exact} THEN 1e0 ELSE 0e0 END}})"
    )
    places = ", ".join(
        f"{{'x': {sql_number(0.5 * (point + 1.0))}, 'o': {sql_number(0.5 * area)}}}"
        for point, area in zip(*legendre(), strict=True)
    )
    inner = _each(f"[{places}]", f"{{'x': {low} + d.x * ({high} - {low}), 'o': ({high} - {low}) * d.o}}")
    inner = _each(inner, "{'x': d.x, 'w': d.o * exp(d.x), 'o': d.o * exp(d.x)}")
    return f"list_concat({summed}, {inner}, [{{'x': {high}, 'w': 0.5e0, 'o': 0e0}}])"


def _rest(known: Mapping[str, float]) -> str:
    """SQL of the constant and of what the directions beyond the parameters leave: e + P_1/2 zeta(p, params + 1)."""
    p = known["p"]
    power, half = sql_number(p), sql_number(0.5 * known["P_1"])
    first = f"({PARAMS} + 1e0)"
    few = f"{first} < {sql_number(ASYMPTOTIC)}"
    each = f"CASE WHEN {few} THEN exp(-{power} * ln({first} + k)) ELSE 0e0 END"
    summed = f"list_sum(list_transform(range(0, {int(ASYMPTOTIC)}), lambda k: {each}))"
    start = f"CASE WHEN {few} THEN {first} + {sql_number(ASYMPTOTIC)} ELSE {first} END"
    cubic = sql_number(p * (p + 1.0) * (p + 2.0) / 720.0)
    series = f"m / {sql_number(p - 1.0)} + 0.5e0 + {sql_number(p / 12.0)} / m - {cubic} / (m * m * m)"
    tail = _bound(start, f"exp(-{power} * ln(m)) * ({series})")
    return f"{sql_number(known['e'])} + {half} * ({summed} + {tail})"
