"""Configs: what they fill in, what they refuse, what they record, and the model they describe."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from isoflop.lakehouse.errors import UsageError
from isoflop.workers import Plrf, Transformer, find_family
from isoflop.workers.devices import Cpu, find_device
from isoflop.workers.families import ConfigError, GradientFamily
from isoflop.workers.families.decoder import rotary_angles, rotate

MARKOV = {"kind": "markov", "vocabulary": 16}


def transformer(**changes: Any) -> Transformer:
    length = {} if "tokens" in changes or "steps" in changes else {"steps": 3}
    return Transformer.parse({"corpus": MARKOV, "width": 32, "depth": 2, "sequence_length": 16, **length, **changes})


def plrf(**changes: Any) -> Plrf:
    return Plrf.parse({"width": 20, "spectrum_exponent": 0.8, "target_exponent": 0.7, "steps": 10, **changes})


def refusal(make: Any, **changes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    return caught.value


def test_shape_defaults_follow_from_the_width_and_the_corpus() -> None:
    run = Transformer.parse({"width": 128, "depth": 2, "tokens": 1e6})
    assert (run.heads, run.head_width, run.feed_forward, run.vocabulary) == (4, 32, 512, 256)
    assert run.corpus.label == "bytes:builtin"
    assert Transformer.parse({"width": 48, "depth": 1, "steps": 1}).heads == 1
    assert transformer(heads=4).head_width == 8


def test_tokens_become_whole_steps_and_at_least_one() -> None:
    batch = 16 * 16
    assert transformer(tokens=10.4 * batch).tokens == 10 * batch
    assert transformer(tokens=10.6 * batch).steps == 11
    assert transformer(tokens=1).steps == 1
    assert transformer(steps=7).tokens == 7 * batch
    assert transformer(steps=7, tokens=7 * batch) == transformer(steps=7)


def test_a_run_is_the_same_run_whichever_way_its_length_is_given() -> None:
    by_steps, by_tokens = transformer(steps=4), transformer(tokens=4 * 256)
    assert by_steps.record().run_id == by_tokens.record().run_id
    assert by_steps.record().run_id != transformer(steps=5).record().run_id
    assert by_steps.record().run_id != transformer(steps=4, seed=1).record().run_id


def test_heads_that_do_not_divide_the_width_are_refused_with_those_that_do() -> None:
    error = refusal(transformer, width=64, heads=3)
    assert error.message == "'heads' is 3, which does not divide width 64; choose from 1, 2, 4, 8, 16, 32, 64"
    assert error.field == "heads"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"steps": None}, "steps", "'steps' is None; it should be a whole number"),
        ({"steps": 3, "tokens": 1}, "steps", "'steps' is 3, but 1 tokens are 1 steps; give one of the two"),
        ({"width": 0}, "width", "'width' is 0; it should be at least 1"),
        ({"width": 2.5}, "width", "'width' is 2.5; it should be a whole number"),
        (
            {"micro_batches": 3},
            "micro_batches",
            "'micro_batches' is 3, which does not divide batch_size 16; choose from 1, 2, 4, 8, 16",
        ),
        (
            {"vocabulary": 8},
            "vocabulary",
            "'vocabulary' is 8, but corpus markov:order1-v16-seed0 has 16 different tokens",
        ),
        ({"precision": "int4"}, "precision", "'precision' is 'int4'; it should be 'float32' or 'bfloat16'"),
        (
            {"corpus": {"kind": "shards", "source": "x"}},
            "vocabulary",
            "'vocabulary' is missing; token files do not say how many different ids they use",
        ),
        (
            {"corpus": {"kind": "bytes", "validation_fraction": 2}},
            "corpus.validation_fraction",
            "'corpus.validation_fraction' is 2; it should be less than 1",
        ),
        (
            {"corpus": {"kind": "markov", "vocabulary": 64, "order": 4}},
            "corpus.vocabulary",
            "'corpus.vocabulary' is 64, too many for a chain of order 4; choose at most 21",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_it_may_be(
    changes: dict[str, Any], field: str, message: str
) -> None:
    error = refusal(transformer, **changes)
    assert (error.message, error.field) == (message, field)


def test_a_misspelled_setting_is_answered_with_the_nearest_one() -> None:
    error = refusal(transformer, widht=32)
    assert error.field == "widht"
    assert "'widht' is not a field of transformer" in error.message
    assert error.hint == "did you mean 'width'?"


def test_a_missing_shape_is_reported_before_what_follows_from_it() -> None:
    with pytest.raises(ConfigError, match="'width' is missing; a transformer needs it"):
        Transformer.parse({"depth": 2, "steps": 1})


def test_a_run_without_a_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="'tokens' is missing; a run needs tokens or steps"):
        Transformer.parse({"width": 32, "depth": 2})


def test_the_record_holds_every_column_the_board_shows() -> None:
    run = transformer(seed=3, learning_rate=0.01)
    record = run.record()
    counts = run.counts()
    assert record.family == "transformer" and record.seed == 3
    assert (record.params, record.tokens, record.steps) == (counts.params, 768, 3)
    assert record.flops == 3 * counts.flops_per_step
    assert record.memcpy_bytes == 3 * counts.memcpy_bytes_per_step
    for column in (
        "width", "depth", "heads", "head_width", "feed_forward", "vocabulary", "sequence_length", "batch_size",
        "batch_tokens", "learning_rate", "parametrization", "precision", "attention", "compile", "corpus",
        "corpus_kind",
    ):  # fmt: skip
        assert column in record.config
    assert record.config["corpus"] == "markov:order1-v16-seed0"
    assert record.config["corpus_contrast"] == 1.5
    assert "seed" not in record.config


@pytest.mark.parametrize("run", [transformer(), plrf()])
def test_a_config_is_flat_and_travels_to_another_process(run: GradientFamily | Plrf) -> None:
    assert all(value is None or isinstance(value, int | float | str | bool) for value in run.config().values())
    assert pickle.loads(pickle.dumps(run)) == run
    assert type(run).model_validate(run.model_dump()) == run


def test_a_config_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        transformer().width = 3  # type: ignore[misc]


def test_counts_are_known_before_the_length_is() -> None:
    shape = {"corpus": MARKOV, "width": 32, "depth": 2, "sequence_length": 16}
    assert Transformer.parse_shape(shape).counts() == transformer().counts()
    assert Transformer.parse_shape({**shape, "tokens": 5e9}).counts() == transformer().counts()


def test_families_are_found_by_name() -> None:
    assert find_family("transformer") is Transformer and find_family("plrf") is Plrf
    with pytest.raises(UsageError, match=r"family 'transfomer' does not exist\nHint: did you mean 'transformer'\?"):
        find_family("transfomer")


def test_random_features_take_their_defaults_from_the_theory() -> None:
    assert plrf().ambient == 200
    assert plrf(spectrum_exponent=0.4).ambient == 80
    spectrum = sum(j**-1.6 for j in range(1, 201))
    assert plrf().rate == pytest.approx(0.5 / spectrum, rel=1e-12)
    assert plrf(batch_size=4).rate == pytest.approx(0.2 / spectrum, rel=1e-12)
    assert plrf(batch_size=4).tokens == 40
    assert plrf(learning_rate=0.1).rate == 0.1


def test_a_computed_learning_rate_is_shown_but_is_no_part_of_the_identity() -> None:
    assert plrf().record().extra == {"learning_rate": plrf().rate}
    assert plrf().config()["learning_rate"] is None
    assert plrf(learning_rate=0.1).record().extra == {}
    assert plrf(learning_rate_constant=0.5).record().run_id == plrf().record().run_id


def test_random_features_refuse_what_cannot_be() -> None:
    assert (
        refusal(plrf, ambient=10).message == "'ambient' is 10, less than width 20; features cannot outnumber the data"
    )
    assert refusal(plrf, learning_rate=0.1, learning_rate_constant=1).field == "learning_rate_constant"


def test_packs_hold_runs_of_one_shape_and_length() -> None:
    assert plrf().pack_key() == plrf(seed=9, spectrum_exponent=1.2).pack_key()
    assert plrf().pack_key() != plrf(steps=11).pack_key()
    assert transformer().pack_key() is None


def test_a_decoder_never_looks_ahead() -> None:
    run = transformer(width=32, heads=4)
    model = run.build(Cpu(), torch.Generator().manual_seed(0))
    tokens = torch.randint(16, (2, 16), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 16
    before, after = model.logits(tokens), model.logits(changed)  # type: ignore[operator]
    torch.testing.assert_close(before[:, :9], after[:, :9], rtol=0, atol=1e-6)
    assert (before[:, 9:] - after[:, 9:]).abs().amax(dim=(0, 2)).min() > 1e-6


@pytest.mark.parametrize("head_width", [8, 7, 1])
def test_plain_and_fused_attention_are_one_function(head_width: int) -> None:
    losses = []
    for attention in ("plain", "fused"):
        run = transformer(attention=attention, heads=4, head_width=head_width)
        model = run.build(Cpu(), torch.Generator().manual_seed(0))
        batch = torch.from_numpy(next(run.batches(run.open_corpus())))
        losses.append(float(run.loss(model, batch).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_rotated_products_depend_on_distance_alone() -> None:
    cosine, sine = rotary_angles(32, 8)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(8, generator=generator), torch.randn(8, generator=generator)
    queries, keys = rotate(query.expand(32, 8), cosine, sine), rotate(key.expand(32, 8), cosine, sine)
    products = queries @ keys.T
    for distance in (0, 3, 10):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)


def test_the_first_loss_is_that_of_a_uniform_guess() -> None:
    run = transformer(width=64, depth=4, heads=2)
    model = run.build(Cpu(), torch.Generator().manual_seed(0))
    batch = torch.from_numpy(next(run.batches(run.open_corpus())))
    assert float(run.loss(model, batch).detach()) == pytest.approx(run.loss_of_knowing_nothing(), rel=0.1)


def test_an_unknown_device_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="device 'tpu' is not on this machine; choose from auto, cpu"):
        find_device("tpu")


def test_describing_runs_needs_no_torch() -> None:
    code = "import sys, isoflop.workers; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
