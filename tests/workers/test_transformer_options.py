"""Every option of the transformer: what it computes, what it costs, that it learns, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoflop.lakehouse.models.counts import MASTER_BYTES
from isoflop.workers import Transformer
from isoflop.workers.coordinates import of_family
from isoflop.workers.devices import Cpu
from isoflop.workers.families import ConfigError
from isoflop.workers.families.attention import attend, attend_within

LANGUAGE = {"kind": "markov", "vocabulary": 64, "contrast": 3.0}
SHAPE = {"corpus": LANGUAGE, "width": 32, "depth": 2, "heads": 4, "sequence_length": 24, "batch_size": 8, "steps": 40}
OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "ratio": {"feed_forward": 48},
    "swiglu": {"mlp": "swiglu", "feed_forward": 80},
    "geglu": {"mlp": "geglu"},
    "grouped": {"kv_heads": 2},
    "multi_query": {"kv_heads": 1},
    "key_width": {"head_width": 5},
    "tied": {"tied": True},
    "learned": {"positions": "learned"},
    "nowhere": {"positions": "none"},
    "rms": {"norm": "rms"},
    "qk_norm": {"qk_norm": True},
    "cap": {"logit_cap": 5.0},
    "window": {"window": 7},
    "wide_window": {"window": 20},
    "checkpointing": {"checkpointing": True},
    "all": {
        "mlp": "swiglu", "kv_heads": 2, "head_width": 6, "tied": True, "positions": "learned", "norm": "rms",
        "qk_norm": True, "logit_cap": 10.0, "window": 8, "checkpointing": True,
    },
}  # fmt: skip
every_option = pytest.mark.parametrize("option", OPTIONS)


def run(**changes: Any) -> Transformer:
    return Transformer.parse({**SHAPE, **changes})


def built(family: Transformer) -> torch.nn.Module:
    return family.build(Cpu(), torch.Generator().manual_seed(0))


def batch_of(family: Transformer) -> torch.Tensor:
    return torch.from_numpy(next(family.batches(family.open_corpus())))


@every_option
def test_params_are_the_matrices_and_flops_are_those_of_torch(option: str) -> None:
    family = run(attention="plain", **OPTIONS[option])  # the counter knows no fused kernel of processors
    model, batch = built(family), batch_of(family)
    assert family.counts().params == sum(each.numel() for each in model.parameters() if each.ndim == 2)
    with FlopCounterMode(display=False) as counter:
        family.loss(model, batch).backward()
    assert counter.get_total_flops() == family.counts().flops_per_step


@pytest.mark.slow
@every_option
def test_every_option_learns_and_never_looks_ahead(option: str) -> None:
    family = run(learning_rate=0.01, **OPTIONS[option])
    trained = of_family(family)
    with torch.no_grad():
        first = float(trained.look())  # type: ignore[arg-type]
        for _ in range(40):
            with torch.enable_grad():
                trained.step()
        assert float(trained.look()) < 0.93 * first  # type: ignore[arg-type]
        tokens = batch_of(family)[:, :-1]
        changed = tokens.clone()
        changed[:, 15] = (changed[:, 15] + 1) % 64
        before, after = (trained.model.logits(each) for each in (tokens, changed))  # type: ignore[operator]
        torch.testing.assert_close(before[:, :15], after[:, :15], rtol=0, atol=1e-5)
        assert (before[:, 15] - after[:, 15]).abs().max() > 1e-4


@every_option
def test_plain_and_fused_attention_are_one_function(option: str) -> None:
    losses = []
    for attention in ("plain", "fused"):
        family = run(attention=attention, **OPTIONS[option])
        losses.append(float(family.loss(built(family), batch_of(family)).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@every_option
def test_bfloat16_is_float32_to_its_digits(option: str) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        trained = of_family(run(precision=precision, learning_rate=0.003, **OPTIONS[option]))
        for _ in range(3):
            trained.step()
        with torch.no_grad():
            losses.append(float(trained.look()))  # type: ignore[arg-type]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("attention", ["plain", "fused"])
@every_option
def test_predicted_activations_are_what_backward_keeps(option: str, attention: str) -> None:
    larger = {"width": 64, "sequence_length": 128, "batch_size": 4, "corpus": {**LANGUAGE, "vocabulary": 256}}
    family = run(attention=attention, **{**larger, **OPTIONS[option], "checkpointing": False})
    model, counts = built(family), family.counts()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        assert family.loss(model, batch_of(family)).requires_grad
    transient = 2 * MASTER_BYTES * family.batch_tokens * family.vocabulary  # logits and their gradient
    predicted = counts.memory_bytes - 16 * counts.params - transient  # type: ignore[operator]
    assert sum(kept.values()) == pytest.approx(predicted, rel=0.2)


def test_checkpointing_costs_another_forward_pass_and_saves_what_layers_keep() -> None:
    plain, again = run(depth=6).counts(), run(depth=6, checkpointing=True).counts()
    assert again.memory_bytes < 0.7 * plain.memory_bytes  # type: ignore[operator]
    layers = plain.flops_per_step - 6 * 8 * 24 * 64 * 32  # type: ignore[operator]
    spared = 6 * 2 * 8 * 24 * 128 * 32  # the last product of each layer, whose output nothing needs
    assert again.flops_per_step - plain.flops_per_step == layers / 3 - spared  # type: ignore[operator]
    assert plain.traffic.linear < again.traffic.linear < plain.traffic.linear * 4 / 3
    losses = []
    for checkpointing in (False, True):
        trained = of_family(run(checkpointing=checkpointing))
        for _ in range(3):
            trained.step()
        losses.append([weight.detach().clone() for weight in trained.model.parameters()])
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize(("window", "positions"), [(1, 9), (3, 9), (3, 10), (4, 8), (5, 9), (9, 9), (20, 9)])
def test_a_window_is_attention_to_the_last_positions(window: int, positions: int, is_fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(2, 3, positions, 4, generator=generator) for _ in range(3))
    found = attend_within(window, queries, keys, values, scale=0.5, is_fused=is_fused)
    for place in range(positions):
        seen = slice(max(0, place - window + 1), place + 1)
        weights = (0.5 * queries[:, :, place, None] @ keys[:, :, seen].transpose(-2, -1)).softmax(-1)
        torch.testing.assert_close(found[:, :, place], (weights @ values[:, :, seen]).squeeze(2))
    if window >= positions:
        torch.testing.assert_close(found, attend(queries, keys, values, scale=0.5, is_fused=is_fused))


def test_grouped_heads_are_heads_that_share_keys_and_values() -> None:
    grouped, single = run(kv_heads=2, depth=1), run(depth=1)
    few, many = built(grouped), built(single)
    state = {name: weight.clone() for name, weight in few.state_dict().items()}
    joined = state["blocks.0.queries_keys_values.weight"].view(8, 8, 32)  # 4 heads, 2 of keys, 2 of values
    parts = (joined[:4], joined[4:6].repeat_interleave(2, 0), joined[6:].repeat_interleave(2, 0))
    state["blocks.0.queries_keys_values.weight"] = torch.cat(parts).reshape(96, 32)
    many.load_state_dict(state)
    batch = batch_of(single)
    torch.testing.assert_close(single.loss(many, batch), grouped.loss(few, batch))


def test_logits_stay_below_their_cap() -> None:
    family = run(logit_cap=0.01)
    assert built(family).logits(batch_of(family)[:, :-1]).abs().max() <= 0.01  # type: ignore[operator]


@pytest.mark.parametrize(("qk_norm", "is_alike"), [(True, True), (False, False)])
def test_normalized_queries_and_keys_are_as_large_whatever_their_weights_are(qk_norm: bool, is_alike: bool) -> None:
    family = run(qk_norm=qk_norm)
    model, tokens = built(family), batch_of(family)[:, :-1]
    before = model.logits(tokens)  # type: ignore[operator]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("queries_keys_values.weight"):
                weight[:64] *= 3.0  # queries and keys, not the values
    apart = (before - model.logits(tokens)).abs().max()  # type: ignore[operator]
    assert (apart < 1e-4) == is_alike


def test_options_cost_what_they_say() -> None:
    usual = run().counts()
    assert run(kv_heads=1).counts().params == usual.params - 2 * 2 * 32 * 24  # type: ignore[operator]
    assert run(mlp="swiglu").counts().params == usual.params + 2 * 32 * 128  # type: ignore[operator]
    learned = run(positions="learned").counts()
    assert learned.params == usual.params + 24 * 32  # type: ignore[operator]
    assert learned.params_non_embedding == usual.params_non_embedding
    assert run(window=4).counts().flops_per_step < usual.flops_per_step  # type: ignore[operator]
    more = {"qk_norm": True, "logit_cap": 5.0, "mlp": "geglu", "positions": "learned", "kv_heads": 2}
    for name, value in more.items():
        traffic = run(**{name: value}).counts().traffic
        assert traffic.elementwise + traffic.head > usual.traffic.elementwise + usual.traffic.head, name


@pytest.mark.parametrize("changes", [{}, {"mlp": "swiglu"}, {"tied": True}, {"positions": "learned"}])
def test_a_shape_for_so_many_params_counts_the_options(changes: dict[str, Any]) -> None:
    settings = {"corpus": LANGUAGE, "sequence_length": 512, **changes}
    shape = Transformer.shape_for(3e6, settings)
    assert Transformer.parse({**settings, **shape, "steps": 1}).counts().params == pytest.approx(3e6, rel=0.03)


def test_options_are_columns_and_change_the_run_only_where_they_are_not_as_usual() -> None:
    usual = run().record()
    assert usual.run_id == run(mlp="plain", kv_heads=4, window=None).record().run_id
    assert (usual.extra["mlp"], usual.extra["kv_heads"], usual.config["mlp"]) == ("plain", 4, None)
    other = run(mlp="swiglu", kv_heads=2).record()
    assert other.run_id != usual.run_id
    assert (other.config["mlp"], other.config["kv_heads"], other.extra["norm"]) == ("swiglu", 2, "layer")
    assert "mlp" not in other.extra


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kv_heads": 3}, "'kv_heads' is 3, which does not divide heads 4; choose from 1, 2, 4"),
        ({"mlp": "relu"}, "'mlp' is 'relu'; it should be 'plain', 'swiglu' or 'geglu'"),
        ({"positions": "alibi"}, "'positions' is 'alibi'; it should be 'rotary', 'learned' or 'none'"),
        ({"norm": "batch"}, "'norm' is 'batch'; it should be 'layer' or 'rms'"),
        ({"window": 0}, "'window' is 0; it should be at least 1"),
        ({"logit_cap": 0}, "'logit_cap' is 0; it should be more than 0"),
        ({"qk_norm": 3}, "'qk_norm' is 3; it should be true or false"),
    ],
)
def test_an_option_that_there_is_not_is_refused_with_those_there_are(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(**changes)
    assert caught.value.message.replace(", unable to interpret input", "").startswith(message)
