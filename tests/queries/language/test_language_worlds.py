"""Whatever a law is fitted on, every verb and function gives the same number, that of its coefficients.

A world is a table with odd names and types, rows that cannot be used, a planted law and expressions of columns as its
inputs. What is right is computed here, from the coefficients that FIT prints.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoflop.lakehouse import Lakehouse
from isoflop.queries.language.syntax.tokens import quote_name
from tests.lakes import open_here

Numbers = Mapping[str, float]
NAMES = (
    ("params", "tokens"), ("N", "D"), ("n_params", "Tokens"), ("größe", "marken"), ("model size", "data size"),
    ("select", "from"), ('a "b"', "c'd"), ("x", "y"), ("e", "a_"), ("1st", "2nd"), ("params.total", "tokens.seen"),
    ("loss_", "LOSS2"), ("日本", "é"),
)  # fmt: skip
TYPES = ("DOUBLE", "DOUBLE", "BIGINT", "UBIGINT", "HUGEINT", "FLOAT", "DECIMAL(38, 3)")
# Form -> how many inputs, planted coefficients, and the law as its page writes it.
FORMS: dict[str, tuple[int, Numbers, Callable[[Numbers, list[float]], float]]] = {
    "power": (1, {"E": 1.7, "A": 40.0, "alpha": 0.2}, lambda c, x: c["E"] + c["A"] / x[0] ** c["alpha"]),
    "chinchilla": (
        2, {"E": 1.7, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
        lambda c, x: c["E"] + c["A"] / x[0] ** c["alpha"] + c["B"] / x[1] ** c["beta"],
    ),
    "chinchilla_tied": (
        2, {"E": 1.7, "A": 300.0, "B": 300.0, "alpha": 0.3},
        lambda c, x: c["E"] + c["A"] / x[0] ** c["alpha"] + c["B"] / x[1] ** c["alpha"],
    ),
}  # fmt: skip
# An expression of the two columns, and its value; the last ones read both.
ONE: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("{0}", lambda p: p), ("{0} / 1e6", lambda p: p / 1e6), ("({0}) / 1e9", lambda p: p / 1e9),
    ("6 * {0}", lambda p: 6 * p), ("{0} * 1e-3", lambda p: p * 1e-3), ("{0} / 2", lambda p: p / 2),
    ("sqrt({0})", math.sqrt), ("{0} ^ 0.5", lambda p: p**0.5), ("{0} + 1000", lambda p: p + 1000),
    ("1e12 / (1e12 / {0})", lambda p: p), ("(2 * {0} - {0}) / 1e6", lambda p: p / 1e6),
)  # fmt: skip
BOTH: tuple[tuple[str, Callable[[float, float], float]], ...] = (
    ("6 * {0} * {1}", lambda p, d: 6 * p * d), ("{0} * {1} / 1e15", lambda p, d: p * d / 1e15),
    ("{1} / {0}", lambda p, d: d / p), ("sqrt({0} * {1})", lambda p, d: math.sqrt(p * d)),
    ("{1} + 20 * {0}", lambda p, d: d + 20 * p),
)  # fmt: skip
TARGETS: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("loss", lambda y: y), ("loss * 2", lambda y: 2 * y), ("loss / ln(2)", lambda y: y / math.log(2)),
    ("exp(loss)", math.exp), ("loss AS nats", lambda y: y),
)  # fmt: skip


@dataclass
class World:
    """A table and a law to be fitted to it.

    Parameters
    ----------
    columns : names of the two columns
    types : and what they are stored as
    form : the law; `arguments` and `values` its inputs in SQL and in Python, of the two columns
    target : SQL of what is fitted, and what becomes of a loss
    resamples : of the fit
    """

    columns: tuple[str, str]
    types: tuple[str, str]
    form: str
    arguments: list[str]
    values: list[Callable[[float, float], float]]
    target: tuple[str, Callable[[float], float]]
    resamples: int
    rows: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def fit(self) -> str:
        """The FIT of it, on the table `world`."""
        text = f"FIT {self.target[0]} ~ {self.form}({', '.join(self.arguments)}) FROM world"
        return f"{text} WITH (resamples = {self.resamples}, forward = false, seed = 1)"

    def inputs(self, params: float, tokens: float) -> list[float]:
        """What the law is given at some values of the columns."""
        return [value(params, tokens) for value in self.values]


def make_world(chance: random.Random) -> World:
    """A world by chance, its rows without noise; some of them cannot be used."""
    columns, types = chance.choice(NAMES), (chance.choice(TYPES), chance.choice(TYPES))
    typed = [column.swapcase() if column.isascii() and chance.random() < 0.2 else column for column in columns]
    names = [quote_name(column) for column in typed]
    form = chance.choice(list(FORMS))
    arguments: list[str] = []
    values: list[Callable[[float, float], float]] = []
    if FORMS[form][0] == 1:
        text, both = chance.choice(BOTH)
        arguments.append(text.format(*names))
        values.append(both)
    else:
        for place in range(2):
            if place and chance.random() < 0.25:
                text, both = chance.choice(BOTH)
                arguments.append(text.format(*names))
                values.append(both)
                continue
            text, one = chance.choice(ONE)
            arguments.append(text.format(names[place]))
            values.append(lambda p, d, one=one, place=place: one((p, d)[place]))
    world = World(columns, types, form, arguments, values, chance.choice(TARGETS), chance.choice((0, 0, 8)))
    planted, law = FORMS[form][1], FORMS[form][2]
    sizes = [round(10 ** (6 + 4 * share / 5)) for share in range(6)]
    scale = [abs(value) for value in world.inputs(1e8, 1e10)]
    for params in sizes:
        for tokens in (round(1e9), round(4e9), round(2e10), round(1e11)):
            given = [value / size * 1e8 for value, size in zip(world.inputs(params, tokens), scale, strict=True)]
            loss = law(planted, given) * (1 + 0.002 * chance.gauss(0, 1))
            world.rows.append((str(params), str(tokens), repr(loss)))
    odd = [("NULL", "1e9", "3.0"), ("1e7", "NULL", "3.0"), ("1e7", "1e9", "NULL"), ("1e7", "1e9", "'nan'::DOUBLE")]
    odd += [("1e7", "1e9", "'inf'::DOUBLE"), ("0", "0", "3.0"), ("1e7", "1e9", "'-inf'::DOUBLE")]
    world.rows += chance.sample(odd, chance.randrange(4))
    chance.shuffle(world.rows)
    return world


def ask_everything(lake: Lakehouse, world: World, chance: random.Random) -> int:
    """Every verb gives the number of the coefficients; return how many statements were asked."""
    first, second = (quote_name(column) for column in world.columns)
    rows = ", ".join(f"({p}::{world.types[0]}, {d}::{world.types[1]}, {loss})" for p, d, loss in world.rows)
    lake.sql(f"CREATE OR REPLACE TABLE world AS FROM (VALUES {rows}) t({first}, {second}, loss)")
    asked = [world.fit, f"CREATE OR REPLACE LAW chosen AS {world.fit}"]
    found = lake.sql(asked[0]).records()[0]
    saved = lake.sql(asked[1]).records()[0]
    assert found["coefficients"] == saved["coefficients"], world
    coefficients = found["coefficients"]
    if any(value is None for value in coefficients.values()):
        return len(asked)
    params, tokens = 10 ** chance.uniform(6, 12), 10 ** chance.uniform(9, 13)
    right = FORMS[world.form][2](coefficients, world.inputs(params, tokens))
    kept = "SELECT (options->'$.arguments')::VARCHAR[] AS read FROM store.laws WHERE name = 'chosen'"
    (read,) = lake.sql(f"{kept} ORDER BY version DESC LIMIT 1").records()
    at = {first.lower(): params, second.lower(): tokens}
    at |= {name.strip('"'): value for name, value in at.items()}
    arguments = ", ".join(repr(at[name.lower()]) for name in read["read"])
    to = f"{first} = {params!r}, {second} = {tokens!r}"
    row = f"(SELECT {params!r}::DOUBLE AS {first}, {tokens!r}::DOUBLE AS {second})"
    ways = [f"EXTRAPOLATE chosen TO {to}", f"EXTRAPOLATE ({world.fit}) TO {to}", f"EXTRAPOLATE chosen TO {row}"]
    ways += [f"PREDICT chosen FROM {row}", f"PREDICT ({world.fit}) FROM {row}", f"FORECAST chosen TO {to}"]
    answers = []
    for way in ways:
        (answer,) = lake.sql(way).records()
        (name,) = [column for column in answer if column.startswith("predicted_")]
        assert answer[name] == pytest.approx(right, rel=1e-9), (way, answer, right, world)
        answers.append(answer)
    (called,) = lake.sql(f"SELECT chosen({arguments}) AS y").records()
    assert called["y"] == pytest.approx(right, rel=1e-9), (arguments, world)
    if answers[0].get("lower") is not None:
        (ends,) = lake.sql(f"SELECT chosen_lower({arguments}) AS l, chosen_upper({arguments}) AS u").records()
        assert ends["l"] == pytest.approx(answers[0]["lower"], rel=1e-9), world
        assert ends["u"] == pytest.approx(answers[0]["upper"], rel=1e-9), world
    become = world.target[1]
    for residual in lake.sql("RESIDUALS chosen").records():
        values = [float(residual[name]) if name in residual else math.nan for name in world.columns]
        if any(map(math.isnan, values)) or residual.get("residual") is None:
            continue
        line = FORMS[world.form][2](coefficients, world.inputs(*values))
        assert residual["residual"] == pytest.approx(math.log(become(float(residual["loss"])) / line), abs=1e-9), world
    return len(asked) + len(ways) + 5


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake that holds one world after another."""
    with open_here(tmp_path_factory.mktemp("worlds") / "worlds.duckdb") as opened:
        yield opened


CALM = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.mark.slow
@settings(max_examples=25, derandomize=True, **CALM)
@given(st.integers(0, 2**64))
def test_every_verb_gives_the_number_of_the_coefficients(lake: Lakehouse, seed: int) -> None:
    chance = random.Random(seed)
    ask_everything(lake, make_world(chance), chance)


@pytest.mark.long
@settings(max_examples=800, **CALM)
@given(st.integers(0, 2**64))
def test_every_verb_gives_the_number_in_many_worlds(lake: Lakehouse, seed: int) -> None:
    chance = random.Random(seed)
    ask_everything(lake, make_world(chance), chance)
