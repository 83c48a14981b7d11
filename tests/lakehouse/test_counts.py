"""Counts of an architecture against hand-made numbers and against the model they describe."""

from __future__ import annotations

import pytest
import torch

from isoflop.lakehouse.models.counts import (
    BYTES_PER_ELEMENT,
    Counts,
    plrf_counts,
    transformer_counts,
    transformer_params,
)
from isoflop.workers import Transformer
from isoflop.workers.devices import Cpu

SMALL = {
    "batch_size": 2, "sequence_length": 16, "width": 8, "feed_forward": 16,
    "heads": 2, "head_width": 4, "depth": 3, "vocabulary": 32,
}  # fmt: skip


def small(**changes: object) -> Counts:
    return transformer_counts(**{**SMALL, "attention": "plain", **changes})  # type: ignore[arg-type]


def test_the_worked_example_is_counted_exactly() -> None:
    counts = small()
    assert (counts.params, counts.flops_per_step, counts.traffic.total) == (2048, 491_520, 141_824)
    assert counts.tokens_per_step == 32
    assert counts.params_non_embedding == 2048 - 2 * 32 * 8
    assert counts.memcpy_bytes_per_step == 4 * 141_824


def test_fused_attention_saves_exactly_the_traffic_of_the_scores() -> None:
    fused = small(attention="fused")
    assert fused.traffic.total == 92_672
    assert small().traffic.total - fused.traffic.total == 16 * 3 * 2 * 2 * 16**2
    assert fused.flops_per_step == small().flops_per_step


def test_forward_traffic_agrees_with_the_short_form() -> None:
    # L*(14 nd + 8 na + 6 bhs^2 + 4 nf + 4 da + 2 df) + 3 nd + vd + 3 nv, against a count kernel by kernel
    n, b, s, d, a, f, h, depth, v = 32, 2, 16, 8, 8, 16, 2, 3, 32
    product = lambda i, o: n * i + i * o + n * o  # noqa: E731
    linear = product(d, 3 * a) + product(a, d) + product(d, f) + product(f, d)
    attention = 2 * (2 * n * a + b * h * s * s) + 4 * b * h * s * s
    elementwise = 2 * 2 * n * d + 2 * 3 * n * d + 2 * n * f  # norms, residuals, activation
    short = 14 * n * d + 8 * n * a + 6 * b * h * s * s + 4 * n * f + 4 * d * a + 2 * d * f
    assert linear + attention + elementwise == short
    assert small().traffic.linear == 3 * depth * linear
    assert small().traffic.head == 3 * product(d, v) + 6 * n * v + 4 * n * d + 2 * v * d


@pytest.mark.parametrize(
    "shape",
    [
        {"width": 8, "feed_forward": 16, "heads": 2, "depth": 3, "vocabulary": 32},
        {"width": 24, "heads": 3, "depth": 1, "vocabulary": 100, "head_width": 5},
        {"width": 32, "heads": 1, "depth": 2, "vocabulary": 64, "tied": True},
    ],
)
def test_params_are_the_matrices_of_the_model(shape: dict[str, int]) -> None:
    run = Transformer.parse(
        {**shape, "corpus": {"kind": "markov", "vocabulary": 16}, "sequence_length": 16, "steps": 1}
    )
    model = run.build(Cpu(), torch.Generator().manual_seed(0))
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
    gains = sum(weight.numel() for weight in model.parameters() if weight.ndim == 1)
    assert run.counts().params == matrices
    assert gains == (2 * run.depth + 1) * run.width
    assert run.counts().params_non_embedding == matrices - (1 if run.tied else 2) * run.vocabulary * run.width


def test_tying_the_head_saves_one_table_and_no_arithmetic() -> None:
    assert small().params - small(tied=True).params == 32 * 8
    assert small().flops_per_step == small(tied=True).flops_per_step
    assert transformer_params(width=8, depth=3, vocabulary=32, feed_forward=16, tied=True) == small(tied=True).params


def test_micro_batches_repeat_the_weights_traffic_of_layers_and_not_the_update() -> None:
    whole, halves = small(), small(micro_batches=2)
    weights_of_layers = 3 * 3 * (4 * 8 * 8 + 2 * 8 * 16)
    weights_of_head = 3 * 8 * 32 + 2 * 8 * 32
    assert halves.traffic.linear - whole.traffic.linear == weights_of_layers
    assert halves.traffic.head - whole.traffic.head == weights_of_head
    assert halves.traffic.optimizer == whole.traffic.optimizer == 7 * 2048
    assert halves.flops_per_step == whole.flops_per_step
    assert halves.params == whole.params


def test_micro_batches_are_counted_as_so_many_smaller_steps() -> None:
    whole, one = small(micro_batches=2).traffic, small(batch_size=1).traffic
    for kind in ("linear", "attention", "elementwise", "head"):
        assert getattr(whole, kind) == 2 * getattr(one, kind)


def test_bfloat16_halves_activations_and_adds_the_casts() -> None:
    counts = small(precision="bfloat16")
    layers = counts.traffic.linear + counts.traffic.attention + counts.traffic.elementwise
    head_product = 3 * (32 * 8 + 8 * 32 + 32 * 32)
    head_rest = counts.traffic.head - head_product
    casts = 6 * (2048 - 32 * 8)  # every matrix but the embedding table: read 4 bytes, write 2
    expected = 2 * (layers + head_product) + 4 * (head_rest + counts.traffic.optimizer) + casts
    assert counts.memcpy_bytes_per_step == expected
    assert counts.traffic == small().traffic


def test_compiled_kernels_move_less_between_products() -> None:
    assert small(compiled=True).traffic.elementwise == 3 * (8 * 32 * 8 + 2 * 32 * 16)
    assert small(compiled=True).traffic.linear == small().traffic.linear


@pytest.mark.parametrize("attention", ["fused", "plain"])
def test_predicted_activations_are_what_backward_keeps(attention: str) -> None:
    run = Transformer.parse(
        {
            "corpus": {"kind": "markov", "vocabulary": 256}, "width": 64, "depth": 3, "heads": 4,
            "sequence_length": 128, "batch_size": 4, "steps": 1, "attention": attention,
        }
    )  # fmt: skip
    model = run.build(Cpu(), torch.Generator().manual_seed(0))
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = torch.from_numpy(next(run.batches(run.open_corpus())))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = run.loss(model, batch)
    assert loss.requires_grad
    transient = 2 * 4 * run.batch_tokens * run.vocabulary  # logits and their gradient are not kept together
    predicted = run.counts().memory_bytes - 16 * run.counts().params - transient
    assert sum(kept.values()) == pytest.approx(predicted, rel=0.15)


def test_random_features_cost_four_products_a_sample() -> None:
    counts = plrf_counts(width=50, batch_size=3)
    assert counts.flops_per_step == 4 * 50 * 3 + 50
    assert (counts.params, counts.tokens_per_step) == (50, 3)
    assert plrf_counts(width=50, ambient=500).memory_bytes > plrf_counts(width=50).memory_bytes


def test_every_precision_has_a_size() -> None:
    assert BYTES_PER_ELEMENT["float32"] == 2 * BYTES_PER_ELEMENT["bfloat16"]
    with pytest.raises(KeyError):
        small(precision="float3")
