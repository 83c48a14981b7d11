"""Operations by class: what `flops` counts is their products, and the rest is counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from isoflop.lakehouse.models.counts import transformer_counts
from isoflop.lakehouse.models.work import WORK_COLUMNS
from isoflop.workers import Transformer

SMALL: dict[str, Any] = {
    "width": 8, "depth": 3, "heads": 2, "feed_forward": 16, "vocabulary": 32, "sequence_length": 16, "batch_size": 2,
    "attention": "plain",
}  # fmt: skip
TOKENS, SCORES, WEIGHTS = 32, 2 * 2 * 16**2, 2048


def test_products_are_told_apart_and_add_up_to_flops() -> None:
    counts = transformer_counts(**SMALL)
    work = counts.work
    assert work is not None and counts.flops_per_step == 491520
    assert work.gemm == 3 * 6 * TOKENS * (4 * 8 * 8 + 2 * 8 * 16)
    assert work.attention == 3 * 12 * 2 * 16**2 * 8
    assert work.head == 6 * TOKENS * 32 * 8
    assert work.gemm + work.attention + work.head == counts.flops_per_step


@pytest.mark.parametrize(
    "options",
    [
        {"kv_heads": 1}, {"window": 4}, {"is_gated": True}, {"has_qk_norm": True}, {"positions": "learned"},
        {"tied": True}, {"checkpointing": True}, {"optimizer": "lion"}, {"norm": "rms"}, {"micro_batches": 2},
    ],
)  # fmt: skip
def test_products_add_up_to_flops_whatever_is_chosen(options: dict[str, Any]) -> None:
    counts = transformer_counts(**{**SMALL, **options})
    assert counts.work is not None
    assert counts.work.gemm + counts.work.attention + counts.work.head == counts.flops_per_step


def test_muon_multiplies_matrices_in_its_update() -> None:
    muon, adamw = (transformer_counts(**SMALL, optimizer=name) for name in ("muon", "adamw"))
    assert muon.work is not None and adamw.work is not None and muon.flops_per_step and adamw.flops_per_step
    assert muon.work.optimizer - 10 * WEIGHTS == muon.flops_per_step - adamw.flops_per_step > 0


@pytest.mark.parametrize(
    ("options", "each_layer", "beside"),
    [
        ({}, 2 * (16 + 2) * 8 * TOKENS + 15 * 16 * TOKENS + 6 * 16 * TOKENS + 11 * SCORES, (16 * 8 + 8 * 32) * TOKENS),
        (
            {"norm": "rms", "is_gated": True, "positions": "learned", "has_logit_cap": True},
            2 * (12 + 2) * 8 * TOKENS + 16 * 16 * TOKENS + 11 * SCORES,
            (12 * 8 + 8 * 32 + 7 * 32 + 2 * 8) * TOKENS,
        ),
        (
            {"kv_heads": 1, "has_qk_norm": True},
            2 * (16 + 2) * 8 * TOKENS + 15 * 16 * TOKENS + (6 + 16) * 12 * TOKENS + 11 * SCORES,
            (16 * 8 + 8 * 32) * TOKENS,
        ),
        (
            {"checkpointing": True},
            2 * (16 + 2) * 8 * TOKENS + 15 * 16 * TOKENS + 6 * 16 * TOKENS + 11 * SCORES
            + (2 * 6 + 2 - 1) * 8 * TOKENS + 5 * 16 * TOKENS + 3 * 16 * TOKENS + 6 * SCORES,
            (16 * 8 + 8 * 32) * TOKENS,
        ),
    ],
)  # fmt: skip
def test_operations_element_by_element_are_those_counted_by_hand(
    options: dict[str, Any], each_layer: int, beside: int
) -> None:
    work = transformer_counts(**{**SMALL, **options}).work
    assert work is not None and work.elementwise == 3 * each_layer + beside


def test_an_update_is_so_much_a_weight() -> None:
    for optimizer, each in (("adamw", 14), ("sgd", 4), ("momentum", 6), ("lion", 10)):
        work = transformer_counts(**SMALL, optimizer=optimizer).work
        assert work is not None and work.optimizer == each * WEIGHTS
    work = transformer_counts(**SMALL, has_ema=True).work
    assert work is not None and work.optimizer == (14 + 3) * WEIGHTS


def test_a_run_has_a_column_for_each_class() -> None:
    run = Transformer.parse({"corpus": {"kind": "markov", "vocabulary": 16}, "width": 16, "depth": 1, "steps": 7})
    record = run.record()
    assert set(WORK_COLUMNS) <= set(record.extra) and not set(WORK_COLUMNS) & set(record.config)
    products = sum(record.extra[f"flops_{name}"] for name in ("gemm", "attention", "head"))  # type: ignore[misc]
    assert products == record.flops
