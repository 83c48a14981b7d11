"""From a sweep file to runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.lakehouse.errors import FileError
from isoflop.workers.resources import Resources, bytes_of, seconds_of
from isoflop.workers.sweep import Sweep, checked_sweeps, load_sweep, load_sweeps
from isoflop.workers.sweep_file import parse_documents

TRANSFORMER = """\
name: small
family: transformer
corpus: {source: builtin, kind: bytes}
grid:
  width: [32, 64]
  depth: 1
  budget: [1e8, 1e9]
  sequence_length: 32
  batch_size: 4
derive:
  heads: width / 32
  tokens: budget / (6 * params)
  learning_rate: 0.02 * 64 / width
exclude: tokens < 500
seeds: 2
timeout: 20 min
"""
FEATURES = """\
name: features
family: plrf
grid: {width: [16, 32], spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100}
seeds: [3, 5]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


def expanding(folder: Path, text: str, *settings: str) -> Sweep:
    return load_sweep(write(folder, text), settings)


def test_the_grid_is_crossed_with_the_seeds_and_expressions_fill_in_the_rest(tmp_path: Path) -> None:
    plan = expanding(tmp_path, TRANSFORMER).expand()
    # 8 rows; at width 64 the smaller budget is 272 tokens, which is excluded for both seeds.
    assert (len(plan), plan.excluded, plan.repeated) == (6, 2, 0)
    first = plan.runs[0]
    assert (first.width, first.heads, first.seed) == (32, 1, 0)  # type: ignore[attr-defined]
    assert first.optimizer.learning_rate == pytest.approx(0.04)  # type: ignore[attr-defined]
    # tokens are budget / (6 * params), in whole steps of 4 * 32
    assert first.tokens == round(1e8 / (6 * first.counts().params) / 128) * 128
    assert [run.seed for run in plan.runs] == [0, 1] * 3


def test_a_variable_that_is_no_setting_is_a_column_but_no_part_of_the_identity(tmp_path: Path) -> None:
    with_budget = expanding(
        tmp_path, FEATURES.replace("tokens: 100", "budget: 1600") + "derive: {tokens: budget / 16}\n"
    )
    records = with_budget.expand().records
    assert all(record.extra["budget"] == 1600 for record in records)
    plain = expanding(tmp_path, FEATURES).expand().records
    assert [record.run_id for record in records] == [record.run_id for record in plain]
    assert "budget" not in plain[0].extra


def test_names_say_how_the_runs_differ(tmp_path: Path) -> None:
    plan = expanding(tmp_path, FEATURES).expand()
    assert plan.records[0].name == "width=16 seed=3"
    assert expanding(tmp_path, FEATURES, "seeds=1", "grid.width=16").expand().records[0].name == "features"


def test_rows_that_are_the_same_run_are_one_run(tmp_path: Path) -> None:
    plan = expanding(
        tmp_path, FEATURES.replace("tokens: 100", "tokens: 100, twin: [1, 2]") + "exclude: twin > 2\n"
    ).expand()
    assert (len(plan), plan.repeated) == (4, 4)


def test_points_are_crossed_with_the_grid(tmp_path: Path) -> None:
    text = FEATURES.replace("width: [16, 32], ", "").replace(", tokens: 100", "")
    plan = expanding(tmp_path, text + "points:\n  - {width: 8, tokens: 50}\n  - {width: 16, tokens: 80}\n").expand()
    assert [(run.width, run.tokens, run.seed) for run in plan.runs] == [  # type: ignore[attr-defined]
        (8, 50, 3),
        (8, 50, 5),
        (16, 80, 3),
        (16, 80, 5),
    ]


def test_a_corpus_can_be_an_axis(tmp_path: Path) -> None:
    text = TRANSFORMER.replace(
        "corpus: {source: builtin, kind: bytes}", "corpus: [{kind: markov, vocabulary: 32, order: 1}, builtin]"
    )
    try:
        plan = expanding(tmp_path, text).expand()
    except FileError as error:  # the settings of a Markov corpus are the corpus's own affair
        pytest.fail(str(error))
    assert len({run.corpus.label for run in plan.runs}) == 2  # type: ignore[attr-defined]


def test_defaults_of_the_family_can_be_read(tmp_path: Path) -> None:
    plan = expanding(tmp_path, TRANSFORMER.replace("0.02 * 64 / width", "beta2 * 1e-3 * vocabulary / 256")).expand()
    assert plan.runs[0].optimizer.learning_rate == pytest.approx(0.95e-3)  # type: ignore[attr-defined]


def test_counts_of_every_kind_can_be_used(tmp_path: Path) -> None:
    names = "params_non_embedding flops_per_step flops_per_token memcpy_bytes_per_step tokens_per_step memory_bytes"
    derive = "".join(f"  my_{name}: {name}\n" for name in names.split())
    text = TRANSFORMER.replace("exclude:", derive + "exclude:") + "tags: [a, b]\n"
    text = text.replace(
        "exclude: tokens < 500", "exclude: " + " + ".join(f"my_{name}" for name in names.split()) + " < 0"
    )
    record = expanding(tmp_path, text).expand().records[0]
    assert record.extra["my_flops_per_step"] == record.flops / record.steps  # type: ignore[operator]
    assert record.extra["my_tokens_per_step"] == 128
    assert record.tags == ("a", "b")


def test_resources_are_numbers_sizes_or_expressions(tmp_path: Path) -> None:
    plan = expanding(tmp_path, FEATURES + "resources: {cpus: width / 16, gpus: 0.5, memory: 2 GiB}\n").expand()
    assert plan.resources[0] == Resources(cpus=1.0, gpus=0.5, memory=2 * 2**30)
    assert plan.resources[-1].cpus == 2.0
    assert expanding(tmp_path, FEATURES).expand().resources[0] == Resources(cpus=1.0, gpus=None, memory=None)


def test_the_text_of_a_sweep_is_its_part_of_the_file_with_the_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, TRANSFORMER + "---\n" + FEATURES)
    first, second = load_sweeps(path)
    assert (first.text, second.text) == (TRANSFORMER, FEATURES)
    changed = load_sweeps(path, ["seeds=1"])[0]
    again = load_sweep(write(tmp_path, changed.text))
    assert [one.run_id for one in again.expand().records] == [one.run_id for one in changed.expand().records]


def test_retries_limits_and_ends_have_defaults(tmp_path: Path) -> None:
    sweep = expanding(tmp_path, FEATURES + "retries: {crash: 3}\non_failure: stop\n")
    assert sweep.retries == {"crash": 3, "out_of_memory": 1, "preempted": 10, "timeout": 0}
    assert (sweep.timeout_seconds, sweep.stops_at_failure) == (None, True)
    assert expanding(tmp_path, TRANSFORMER).timeout_seconds == 1200


MISTAKES = [
    # what is written, what is said
    (("seeds: 2", "sede: 2"), "sweep.yaml:15: unknown key 'sede'\nHint: did you mean 'seeds'?"),
    (
        ("family: transformer", "family: transfomer"),
        "sweep.yaml:2: there is no family 'transfomer'\nHint: did you mean 'tr",
    ),
    (("name: small\n", ""), "'name' is missing"),
    (("  depth: 1\n", ""), "'depth' is missing"),
    (("width: [32, 64]", "widht: [32, 64]"), "sweep.yaml:5: 'widht' is no setting of the family 'transformer', and no"),
    (("width / 32", "widht / 32"), "sweep.yaml:11: unknown name 'widht'"),
    (("width / 32", "width /"), "sweep.yaml:11: 'width /' is not a SQL expression"),
    (("width / 32", "width / 3"), "sweep.yaml:11: 'heads'"),
    (("width / 32", "3"), "sweep.yaml:11: 'heads' is 3, which does not divide width 32"),
    (("depth: 1", "depth: one"), "sweep.yaml:6: 'depth' is 'one'"),
    (("depth: 1", "depth: [1, 0]"), "sweep.yaml:6: 'depth' is 0"),
    (("depth: 1", "depth: []"), "sweep.yaml:6: 'depth' has no values"),
    (("depth: 1", "depth: [1, 2, 1]"), "sweep.yaml:6: 'depth' has the same value twice"),
    (("depth: 1", "seed: 1"), "sweep.yaml:6: 'seed' is set by the key seeds"),
    (("depth: 1", "params: 1"), "sweep.yaml:6: 'params' follows from the shape"),
    (("depth: 1", "depth: 1\n  heads: 1"), "'heads' is set in grid (line 7) already"),
    (("depth: 1", "2depth: 1"), "'2depth' is not a name"),
    (("exclude: tokens < 500", "exclude: tokens"), "sweep.yaml:14: 'tokens' is not a condition"),
    (("exclude: tokens < 500", "exclude: [tokens < 5,\n  tokens > 0]"), "sweep.yaml:14: no run is left: all 8 rows"),
    (("exclude: tokens < 500", "exclude: [tokens < 5,\n  token > 9]"), "sweep.yaml:15: unknown name 'token'"),
    (("seeds: 2", "seeds: 0"), "sweep.yaml:15: 'seeds' is 0: expected a number of seeds"),
    (("seeds: 2", "seeds: [1, 1]"), "sweep.yaml:15: 'seeds' is [1, 1]: expected at least one seed, each once"),
    (("seeds: 2", "seeds: [a]"), "sweep.yaml:15: "),
    (("20 min", "20"), "sweep.yaml:16: 'timeout' is 20: expected a duration with a unit"),
    (("20 min", "20 parsecs"), "sweep.yaml:16: 'timeout' is '20 parsecs': expected a duration"),
    (("seeds: 2", "retries: {crush: 1}"), "sweep.yaml:15: unknown key 'crush'\nHint: did you mean 'crash'?"),
    (("seeds: 2", "retries: {crash: -1}"), "sweep.yaml:15: 'retries.crash' is -1"),
    (("seeds: 2", "on_failure: halt"), "sweep.yaml:15: 'on_failure' is 'halt': expected 'continue' or 'stop'"),
    (("seeds: 2", "resources: {cpus: 0}"), "sweep.yaml:15: '0' is 0, expected a number of cpus, more than 0"),
    (("seeds: 2", "resources: {cpus: width > 3}"), "sweep.yaml:15: 'width > 3' is True, expected a number of cpus"),
    (("seeds: 2", "resources: {memory: lots}"), "sweep.yaml:15: unknown name 'lots'"),
    (("corpus: {source: builtin, kind: bytes}", "corpus: {kind: byts}"), "sweep.yaml:3: "),
    (("heads: width / 32\n", "learning_rate: 1e-3\n"), "the key 'learning_rate' is written twice"),
    (
        (
            "  heads: width / 32\n  tokens: budget / (6 * params)\n",
            "  tokens: budget / (6 * params)\n  feed_forward: 7 * width\n",
        ),
        "sweep.yaml:11: a setting that changes the shape's counts is derived after they are used here",
    ),
    (
        ("  heads: width / 32\n  tokens: budget / (6 * params)\n", "  tokens: heads * budget\n  heads: width / 32\n"),
        "sweep.yaml:11: 'heads' is derived later\nHint: put 'heads' above 'tokens'",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[change[1].strip()[:40] for change, _ in MISTAKES])
def test_a_mistake_is_named_with_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in TRANSFORMER
    with pytest.raises(FileError) as caught:
        expanding(tmp_path, TRANSFORMER.replace(*change)).expand()
    assert message in str(caught.value)


def test_an_excluded_row_may_be_wrong(tmp_path: Path) -> None:
    text = TRANSFORMER.replace("width: [32, 64]", "width: [32, 48, 64]").replace(
        "exclude: tokens < 500", "exclude: [width % 32 <> 0]"
    )
    assert len(expanding(tmp_path, text).expand()) == 8


def test_a_mistake_in_an_override_names_the_override(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"--set grid\.depth=-1: 'depth' is -1"):
        expanding(tmp_path, TRANSFORMER, "grid.depth=-1").expand()


def test_a_family_without_a_corpus_takes_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="the family 'plrf' has no corpus"):
        expanding(tmp_path, FEATURES + "corpus: builtin\n")


def test_a_file_of_several_sweeps_is_read_as_several(tmp_path: Path) -> None:
    path = write(tmp_path, TRANSFORMER + "---\n" + FEATURES)
    with pytest.raises(FileError, match=r"holds 2 sweeps \(small, features\)"):
        load_sweep(path)
    with pytest.raises(FileError, match=r"sweep\.yaml:6: two sweeps of this file are called 'features'"):
        load_sweeps(write(tmp_path, FEATURES + "---\n" + FEATURES))


def test_a_grid_too_large_to_plan_is_refused(tmp_path: Path) -> None:
    axes = ", ".join(f"a{i}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" for i in range(7))
    with pytest.raises(FileError, match="20,000,000 rows"):
        expanding(
            tmp_path, FEATURES.replace("{width", f"{{{axes}, width").replace("seeds: [3, 5]", "seeds: 1")
        ).expand()


def test_ten_thousand_rows_are_planned_in_seconds(tmp_path: Path) -> None:
    widths = ", ".join(str(width) for width in range(8, 108))
    text = f"""\
name: many
family: plrf
grid: {{width: [{widths}], spectrum_exponent: 1.0, target_exponent: 0.8, budget: [1e5, 2e5, 3e5, 4e5, 5e5]}}
derive: {{tokens: budget / params, learning_rate_constant: 0.5 + 1 / width}}
seeds: 20
"""
    assert len(expanding(tmp_path, text).expand()) == 10_000


@pytest.mark.parametrize("text", ["", "min", "3 x", "-3 s", "0 s", "3 min 4", 5, None, "1.5"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        seconds_of(text)


@pytest.mark.parametrize(("text", "size"), [("1 KiB", 1024), ("1.5 GB", 1_500_000_000), ("7", None), ("2 cats", None)])
def test_sizes_have_units(text: str, size: int | None) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("plrf", "width: 8, task: {spectrum_exponent: 0.8, target_exponent: 0.3}, steps: 1e19", "'steps' is 1e+19"),
        ("plrf", "width: 1e18, task: {spectrum_exponent: 0.8, target_exponent: 0.3}, steps: 9", "W has 1e+37 entries"),
        ("plrf", "width: true, task: {spectrum_exponent: 0.8, target_exponent: 0.3}, steps: 9", "'width' is true"),
        ("transformer", "width: 1e12, depth: 1, sequence_length: 8, steps: 2", "e+25 params, more than can be counted"),
        ("deep_linear", "dimension: 1e18, width: 8, depth: 1, steps: 2", "'dimension' is"),
    ],
)
def test_what_no_machine_holds_is_one_clear_error(family: str, settings: str, message: str) -> None:
    corpus = "corpus: {kind: markov, vocabulary: 16}\n" if family == "transformer" else ""
    text = f"name: huge\nfamily: {family}\n{corpus}grid: {{{settings}}}\n"
    with pytest.raises(FileError) as caught:
        for sweep in checked_sweeps(parse_documents(text, "huge.yaml")):
            sweep.expand()
    assert message in str(caught.value)


def test_a_seed_beyond_a_column_is_refused() -> None:
    grid = "grid: {width: 4, spectrum_exponent: 0.8, target_exponent: 0.3, steps: 2}"
    with pytest.raises(FileError, match="seeds"):
        checked_sweeps(parse_documents(f"name: x\nfamily: plrf\n{grid}\nseeds: [99999999999999999999999]\n"))


def test_tokens_that_are_no_whole_steps_are_said() -> None:
    text = (
        "name: s\nfamily: transformer\ncorpus: {source: builtin}\n"
        "grid: {width: 32, depth: 1, sequence_length: 256, batch_size: 16, tokens: TOKENS}\n"
    )

    def notes_of(tokens: str) -> tuple[str, ...]:
        [sweep] = checked_sweeps(parse_documents(text.replace("TOKENS", tokens)))
        return sweep.expand().notes

    [note] = notes_of("[1000, 4000, 9000]")
    assert note.startswith("rounded tokens: up to 4,096 tokens in place of 1,000, in 1 of 3 runs; a run takes whole")
    assert notes_of("[4000, 4096, 1e6]") == ()
