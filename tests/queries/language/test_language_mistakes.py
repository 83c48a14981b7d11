"""Rows that do not belong together, inputs that are not what a law takes, and other mistakes of authors are named."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

QUICK = "WITH (resamples = 0)"


def rows() -> pa.Table:
    """64 runs: 4 sizes, 4 lengths, and 2 families of 2 seeds, of which one trains with another optimizer too."""
    generator = np.random.default_rng(0)
    table = []
    for params in np.geomspace(1e8, 1e10, 4).round():
        for tokens in np.geomspace(1e10, 1e12, 4).round():
            for family, level in (("net", 1.0), ("moe", 0.9)):
                for seed in (0, 1):
                    loss = level * (1.7 + 400 / params**0.34 + 410 / tokens**0.28)
                    loss *= np.exp(0.002 * generator.standard_normal())
                    table.append(
                        {
                            "family": family, "seed": seed, "params": int(params), "tokens": int(tokens), "loss": loss,
                            "corpus": "web", "optimizer": "muon" if seed else "adam", "unique_tokens": 2 * tokens,
                        }
                    )  # fmt: skip
    return pa.Table.from_pylist(table)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    with open_here(tmp_path_factory.mktemp("mistakes") / "lake.duckdb") as made:
        made.write([("CREATE TABLE mixed AS FROM _rows", None)], {"_rows": rows()})
        yield made


def said(lake: Lakehouse, statement: str) -> str:
    return "\n".join(lake.sql(statement).notes)


def test_families_in_one_fit_are_counted_and_what_separates_them_is_said(lake: Lakehouse) -> None:
    notes = said(lake, f"FIT loss ~ chinchilla(params, tokens) FROM mixed WHERE seed = 0 {QUICK}")
    assert "the 32 rows are of 2 families (moe 16, net 16)" in notes
    assert "WHERE family = 'moe' or GROUP BY family" in notes


@pytest.mark.parametrize("part", ["WHERE family = 'net' AND seed = 0", "WHERE seed = 0 GROUP BY family"])
def test_rows_that_were_separated_are_left_in_peace(lake: Lakehouse, part: str) -> None:
    assert "families" not in said(lake, f"FIT loss ~ chinchilla(params, tokens) FROM mixed {part} {QUICK}")


@pytest.mark.parametrize(
    ("column", "values", "word"),
    [
        ("corpus", ("web", "books"), "2 corpora"),
        ("tokenizer", ("bpe", "bytes"), "2 tokenizers"),
        ("loss_unit", ("nat/token", "bit/byte"), "2 loss units"),
    ],
)
def test_other_columns_that_tell_losses_apart(lake: Lakehouse, column: str, values: tuple[str, str], word: str) -> None:
    case = f"CASE WHEN params > 1e9 THEN '{values[0]}' ELSE '{values[1]}' END AS {column}"
    source = f"(SELECT params, tokens, loss, {case} FROM mixed WHERE family = 'net' AND seed = 0)"
    assert word in said(lake, f"FIT loss ~ chinchilla(params, tokens) FROM {source} {QUICK}")


def test_inputs_in_the_other_order(lake: Lakehouse) -> None:
    notes = said(lake, f"FIT loss ~ chinchilla(tokens, params) FROM mixed WHERE family = 'net' AND seed = 0 {QUICK}")
    assert "chinchilla takes params, tokens, in this order" in notes and "chinchilla(params, tokens)" in notes
    renamed = "(SELECT params AS a, tokens AS b, loss FROM mixed WHERE family = 'net' AND seed = 0 AND params < 5e9)"
    assert "if they are swapped, chinchilla(a, b)" in said(lake, f"FIT loss ~ chinchilla(b, a) FROM {renamed} {QUICK}")
    assert "swapped" not in said(lake, f"FIT loss ~ chinchilla(a, b) FROM {renamed} {QUICK}")


def test_counts_in_billions(lake: Lakehouse) -> None:
    small = "(SELECT params / 1e9 AS params, tokens, loss FROM mixed WHERE family = 'net' AND seed = 0)"
    notes = said(lake, f"FIT loss ~ chinchilla(params, tokens) FROM {small} {QUICK}")
    assert "params are between 0.1 and 10: are they in billions?" in notes and "params * 1e9" in notes


def test_runs_that_were_repeated_with_another_seed_or_setting(lake: Lakehouse) -> None:
    seeds = "(SELECT params, tokens, loss, seed FROM mixed WHERE family = 'net')"
    notes = said(lake, f"FIT loss ~ chinchilla(params, tokens) FROM {seeds} {QUICK}")
    assert "16 rows have the same params and tokens as another one and another seed" in notes
    assert "WITH (cluster = (params, tokens))" in notes
    settings = "(SELECT params, tokens, loss, optimizer FROM mixed WHERE family = 'net')"
    notes = said(lake, f"FIT loss ~ chinchilla(params, tokens) FROM {settings} {QUICK}")
    assert "another optimizer, which the law does not use" in notes
    assert "GROUP BY optimizer" in notes and "repeat" not in notes


@pytest.mark.parametrize("effect", [0.0, 0.01])
def test_labels_without_an_effect_are_no_unused_columns(lake: Lakehouse, effect: float) -> None:
    rows = (
        f"(SELECT 10.0 ** (6 + i) AS params, (2 + 100 / params ^ 0.3) * (1 + 0.005 * sin(77 * i + 31 * k) "
        f"+ {effect} * (k % 2)) AS loss, concat('n', k % 2) AS node FROM range(6) a(i), range(8) b(k))"
    )
    notes = said(lake, f"FIT loss ~ power(params) FROM {rows} {QUICK}")
    assert ("another node, which the law does not use" in notes) is (effect > 0)


def test_the_answer_of_that_note_is_taken(lake: Lakehouse) -> None:
    seeds = "(SELECT params, tokens, loss, seed FROM mixed WHERE family = 'net')"
    fit = f"FIT loss ~ chinchilla(params, tokens) FROM {seeds} WITH (resamples = 20, cluster = (params, tokens))"
    assert lake.sql(fit).records()[0]["rows"] == 32


def test_epochs_below_one_and_shares_of_a_whole(lake: Lakehouse) -> None:
    law = "data_constrained(params, unique_tokens, tokens / unique_tokens)"
    notes = said(lake, f"FIT loss ~ {law} FROM mixed WHERE family = 'net' AND seed = 0 {QUICK}")
    assert "16 rows have" in notes and "below one, but it is the number of epochs" in notes
    shares = "(SELECT (i + 1) / 20 AS web, 1 - (i + 1) / 20 AS books, 3 - (i + 1) / 40 AS loss FROM range(12) t(i))"
    formula = "c + a * web + b * books PARAMETERS (a, b, c)"
    assert "web + books is one in every row" in said(lake, f"FIT loss ~ {formula} FROM {shares} {QUICK}")
    mostly = shares.replace("1 - (i + 1) / 20", "CASE i WHEN 4 THEN 0.9 ELSE 1 - (i + 1) / 20 END")
    assert "web + books is one in most rows, but 1 row has another sum" in said(
        lake, f"FIT loss ~ {formula} FROM {mostly} {QUICK}"
    )


def test_points_of_one_curve_that_lie_off_to_the_same_side(lake: Lakehouse) -> None:
    curve = (
        "(SELECT concat('r', r) AS run_id, 10.0 ** (4 + i / 10) AS tokens, "
        "(1.5 + 30 / tokens ** 0.3) * exp(0.01 * sin(i / 4 + r)) AS loss FROM range(40) t(i), range(4) u(r))"
    )
    lake.sql(f"CREATE OR REPLACE TABLE bent AS FROM {curve}")
    found = said(lake, "FIT loss ~ power(tokens) FROM bent WITH (resamples = 0, bootstrap = 'case')")
    assert "neighboring points of one curve lie off to the same side" in found
    assert "cluster = run_id" in found
    straight = curve.replace("0.01 * sin(i / 4 + r)", "0.01 * sin(7919 * i * (r + 1))")
    lake.sql(f"CREATE OR REPLACE TABLE straight AS FROM {straight}")
    found = said(lake, "FIT loss ~ power(tokens) FROM straight WITH (resamples = 0, bootstrap = 'case')")
    assert "same side" not in found


def test_an_optimum_on_the_edge_of_what_was_trained(lake: Lakehouse) -> None:
    slices = (
        "(SELECT b AS flops, 10.0 ** (7 + i / 4) * sqrt(b / 1e18) AS params, b / 6 / params AS tokens, "
        "1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 AS loss FROM unnest([1e18, 1e19, 1e20]) t(b), range(4) u(i))"
    )
    assert "the best size is the largest; add larger sizes there" in said(
        lake, f"COMPARE APPROACHES FROM {slices} WITH (resamples = 20)"
    )


def test_the_target_has_the_unit_its_rows_say(lake: Lakehouse) -> None:
    for unit in ("bit/byte", "nat/token"):
        source = f"(SELECT *, '{unit}' AS loss_unit FROM mixed WHERE family = 'net' AND seed = 0)"
        lake.sql(f"CREATE OR REPLACE LAW unit AS FIT loss ~ chinchilla(params, tokens) FROM {source} {QUICK}")
        answer = lake.sql("EXTRAPOLATE unit TO params = 1e11, tokens = 1e13")
        assert answer.units["predicted_loss"] == unit


def test_what_only_some_candidates_do_not_use_is_said_of_them(lake: Lakehouse) -> None:
    lake.sql(
        "CREATE OR REPLACE TABLE grid AS SELECT 1e6 * 3 ** (i % 5) AS params, 1e8 * 4 ** (i // 5) AS tokens, "
        "1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 AS loss FROM range(20) t(i)"
    )
    both = "(loss ~ power(params)), (loss ~ chinchilla(params, tokens))"
    for statement in (
        f"COMPARE {both} FROM grid {QUICK}",
        f"EXTRAPOLATE AVERAGE OF {both} FROM grid TO params = 1e9, tokens = 1e11 WITH (resamples = 5)",
    ):
        (note,) = [each for each in lake.sql(statement).notes if "which the law does not use" in each]
        assert note.startswith("power(params): 15 rows have the same params as another one and another tokens")
    alike = "(loss ~ power(params)), (loss ~ plain_power(params))"
    (note,) = [each for each in lake.sql(f"COMPARE {alike} FROM grid {QUICK}").notes if "does not use" in each]
    assert note.startswith("15 rows have the same params")


@pytest.mark.parametrize(("params", "tokens"), [("params / 1e9", "tokens / 1e9"), ("1e-6 * params", "tokens * 1e-9")])
def test_columns_are_seen_through_their_units(lake: Lakehouse, params: str, tokens: str) -> None:
    rows = "FROM mixed WHERE family = 'net'"
    notes = said(lake, f"FIT loss ~ chinchilla({tokens}, {params}) {rows} {QUICK}")
    assert f"its params are read from tokens: chinchilla({params}, {tokens})" in notes
    assert "read from" not in said(lake, f"FIT loss ~ chinchilla({params}, {tokens}) {rows} {QUICK}")
    assert "is it the column meant?" in said(lake, f"FIT loss ~ overtraining({params}, {tokens}) {rows} {QUICK}")
