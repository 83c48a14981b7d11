"""Components: flat and nested are one run, identities stay, SGD and parametrizations do what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch

from isoflop.lakehouse import Spool
from isoflop.lakehouse.errors import FileError
from isoflop.workers import TrainOptions, Transformer, find_family, train
from isoflop.workers.components import Parametrization, Scaling, Sgd, Shape, Standard
from isoflop.workers.components.optimizers import set_learning_rate, weight_groups
from isoflop.workers.components.scalings import Role, Rule
from isoflop.workers.devices import Cpu
from isoflop.workers.expansion import varied
from isoflop.workers.families import ConfigError
from isoflop.workers.sweep import SweepPlan, checked_sweeps
from isoflop.workers.sweep_file import parse_documents

MARKOV = {"kind": "markov", "vocabulary": 16}
SMALL = {"corpus": MARKOV, "width": 32, "depth": 2, "sequence_length": 16, "steps": 3}
FEATURES = {"width": 20, "spectrum_exponent": 0.8, "target_exponent": 0.7, "steps": 10}
# What lakes hold: a config that was flat has the same identity for good.
RECORDED: list[tuple[str, dict[str, Any], str]] = [
    ("transformer", {"width": 64, "depth": 2, "tokens": 1e5}, "tbaf6qba3dgy"),
    ("transformer", SMALL, "odsfeospzref"),
    (
        "transformer",
        {
            **SMALL, "seed": 4, "learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "weight_decay": 0.0,
            "gradient_clip": None, "warmup_fraction": 0.1, "final_learning_rate_fraction": 0.0,
        },
        "a7cus2cgjiy4",
    ),
    (
        "transformer",
        {
            **SMALL, "width": 48, "depth": 3, "heads": 3, "tied": True, "attention": "plain", "precision": "bfloat16",
            "micro_batches": 4, "compile": True, "parametrization": "standard", "steps": 7, "validation_tokens": 0,
            "sequence_length": 256,
        },
        "cwfr6z7zgz4v",
    ),
    ("plrf", FEATURES, "asj2u46uqgwc"),
    (
        "plrf",
        {
            "width": 20, "spectrum_exponent": 0.4, "target_exponent": 0.7, "tokens": 40, "batch_size": 4,
            "learning_rate": 0.1, "seed": 3, "feature_seed": 5,
        },
        "aqcjnjbo2qds",
    ),
    (
        "plrf",
        {
            "width": 8, "ambient": 9, "spectrum_exponent": 1.2, "target_exponent": 0, "steps": 10,
            "learning_rate_constant": 0.5,
        },
        "wh35exfgq3e4",
    ),
]  # fmt: skip


def small(**changes: Any) -> Transformer:
    return Transformer.parse({**SMALL, **changes})


@pytest.mark.parametrize(("family", "config", "run_id"), RECORDED)
def test_a_run_recorded_once_is_the_same_run_for_good(family: str, config: dict[str, Any], run_id: str) -> None:
    assert find_family(family).parse(config).record().run_id == run_id


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({"learning_rate": 0.01, "beta1": 0.8}, {"optimizer": {"learning_rate": 0.01, "beta1": 0.8}}),
        ({"beta1": 0.8, "optimizer": "adamw"}, {"optimizer": {"kind": "adamw"}, "beta1": 0.8}),
        ({"optimizer": "sgd", "momentum": 0.9}, {"optimizer": {"kind": "sgd", "momentum": 0.9}}),
        ({"precision": "bfloat16"}, {"precision": {"activations": "bfloat16", "weights": "float32"}}),
        ({"parametrization": "standard"}, {"parametrization": {"kind": "standard"}}),
        ({"corpus": {**MARKOV, "seed": 2}}, {"task": {**MARKOV, "seed": 2}}),
    ],
)
def test_flat_and_nested_settings_are_one_run(flat: dict[str, Any], nested: dict[str, Any]) -> None:
    base = {key: value for key, value in SMALL.items() if "task" not in nested or key != "corpus"}
    run = Transformer.parse({**base, **nested})
    assert run == small(**flat)
    assert run.record().run_id == small(**flat).record().run_id


def test_the_optimizer_is_a_column_and_sgd_is_another_run() -> None:
    assert small().record().extra["optimizer"] == "adamw"
    assert "optimizer" not in {key for key, value in small().config().items() if value is not None}
    other = small(optimizer="sgd").config()
    assert (other["optimizer"], other["momentum"], "beta1" in other) == ("sgd", 0.0, False)
    assert small(optimizer="sgd").record().run_id != small().record().run_id
    costs = [small(**each).counts() for each in ({}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9})]
    moved = [each.traffic.optimizer / (each.params or 1) for each in costs]
    assert moved == [7, 3, 5]
    assert costs[1].memory_bytes < costs[2].memory_bytes < costs[0].memory_bytes  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "'optimizer' is 'adam'; it should be 'adamw' or 'sgd' or 'lion' or 'muon'"),
        ({"optimizer": "sgd", "beta1": 0.9}, "'beta1' is not a setting of the optimizer sgd"),
        ({"optimizer": {"momentun": 0.9, "kind": "sgd"}}, "'momentun' is not a setting of the optimizer sgd"),
        ({"optimizer": {"beta1": 2}}, "'beta1' is 2; it should be less than 1"),
        (
            {"optimizer": {"beta1": 0.5}, "beta1": 0.5},
            "'beta1' is given twice, by itself and inside",
        ),
        (
            {"parametrization": "muP"},
            "'parametrization' is 'muP'; it should be 'standard' or 'ntk' or 'mup' or 'depth_mup' or",
        ),
        ({"precision": {"weights": "int4"}}, "'precision_weights' is 'int4'; it should be 'float32'"),
        ({"task": MARKOV}, "'task' and corpus are one setting; give one of the two"),
    ],
)
def test_what_a_component_cannot_have_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small(**changes)
    assert caught.value.message.startswith(message)


def test_a_task_has_to_be_settings() -> None:
    with pytest.raises(ConfigError, match="'task' is 'hard'; it should be a mapping of spectrum_exponent, target_exp"):
        find_family("plrf").parse({"task": "hard", "width": 4, "steps": 1})
    with pytest.raises(ConfigError, match="'spectrum_exponent' is missing; a plrf needs it"):
        find_family("plrf").parse({"width": 4, "steps": 1, "target_exponent": 1.0})


SWEEP = """\
name: nested
family: transformer
corpus: {kind: markov, vocabulary: 16}
grid:
  width: [16, 32]
  depth: 1
  sequence_length: 16
  steps: 2
  optimizer: OPTIMIZER
derive:
  weight_decay: learning_rate / 10
"""


def plan_of(optimizer: str) -> SweepPlan:
    [sweep] = checked_sweeps(parse_documents(SWEEP.replace("OPTIMIZER", optimizer), "sweep.yaml"))
    return sweep.expand()


def test_lists_inside_a_component_are_axes_and_expressions_read_its_settings() -> None:
    plan = plan_of("{kind: sgd, learning_rate: [0.1, 0.3], momentum: 0.9}")
    assert [run.optimizer.learning_rate for run in plan.runs] == [0.1, 0.3, 0.1, 0.3]  # type: ignore[attr-defined]
    assert [record.config["weight_decay"] for record in plan.records] == pytest.approx([0.01, 0.03] * 2)
    assert {record.config["optimizer"] for record in plan.records} == {"sgd"}
    assert {"width", "learning_rate", "weight_decay"} <= set(varied(plan.records))
    assert plan.records[1].name == "width=16 learning_rate=0.3"
    kinds = plan_of("{kind: [adamw, sgd]}")
    assert [record.config["optimizer"] or record.extra["optimizer"] for record in kinds.records] == ["adamw", "sgd"] * 2


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("{learning_rat: 0.1}", "sweep.yaml:9: 'learning_rat' is no setting of the family 'transformer'"),
        ("{weight_decay: 0.1}", "'weight_decay' is set in grid (line 9) already"),
        ("{kind: adam}", "sweep.yaml:9: 'optimizer' is 'adam'; it should be 'adamw' or 'sgd' or 'lion' or 'muon'"),
        ("{beta1: 3}", "sweep.yaml:9: 'beta1' is 3; it should be less than 1"),
        ("{momentum: true, kind: sgd}", "sweep.yaml:9: 'momentum' is true; it should be a number"),
        ("[{learning_rate: [0.1, 0.2]}, adamw]", "sweep.yaml:9: 'learning_rate' is [0.1, 0.2]"),
        (
            "{kind: sgd, learning_rate: 0.1}\n  learning_rate: 0.2",
            "'learning_rate' is given twice, here and by grid.opt",
        ),
    ],
)
def test_mistakes_inside_a_component_are_shown_at_their_line(optimizer: str, message: str) -> None:
    with pytest.raises(FileError) as caught:
        plan_of(optimizer)
    assert message in str(caught.value)


def test_sgd_moves_weights_by_the_rate_times_the_gradient() -> None:
    layer = torch.nn.Linear(3, 2)
    before = [weight.detach().clone() for weight in layer.parameters()]
    optimizer = Sgd(learning_rate=1.0).build(weight_groups(layer))
    set_learning_rate(optimizer, 0.5)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    for weight, old in zip(layer.parameters(), before, strict=True):
        torch.testing.assert_close(weight.detach(), old - 0.5 * torch.ones_like(old))


def test_a_transformer_learns_by_sgd(tmp_path: Path) -> None:
    run = small(optimizer="sgd", learning_rate=0.5, momentum=0.9, steps=60, corpus={**MARKOV, "contrast": 3.0})
    with Spool(tmp_path, "x", 1) as spool:
        outcome = train(run, spool, options=TrainOptions(device="cpu", threads=1))
    assert outcome.status == "finished" and outcome.loss is not None
    assert outcome.loss < 0.95 * run.loss_of_knowing_nothing()


class Frozen(Parametrization):
    """Hidden matrices do not learn and are half as large, which their multiplier makes up for."""

    kind: Literal["frozen"] = "frozen"
    learning: ClassVar[tuple[Role, ...]] = ("embedding", "readout")

    def scaling(self, role: Role, shape: Shape, rule: Rule = "adam") -> Scaling:
        usual = Standard().scaling(role, shape).initial_scale
        if usual is None or role in self.learning:
            return Scaling(usual)
        return Scaling(usual / 2, multiplier=2.0, rate_factor=0.0)


def test_a_parametrization_scales_weights_products_and_rates_by_role() -> None:
    usual = small()
    other = usual.model_copy(update={"parametrization": Frozen()})
    models = [run.build(Cpu(), torch.Generator().manual_seed(0)) for run in (usual, other)]
    every = [run.roles(model) for run, model in zip((usual, other), models, strict=True)]
    roles = [[each for each in weights if each.weight.ndim == 2] for weights in every]
    assert [each.role for each in roles[0]] == [
        "embedding", *["hidden", "into_residual"] * 4, "readout",
    ]  # fmt: skip
    for each, same in zip(*roles, strict=True):
        factor = 1.0 if each.role in Frozen.learning else 2.0
        torch.testing.assert_close(each.weight, factor * same.weight, rtol=0, atol=0)
        shape = (each.shape.outputs, each.shape.inputs)
        assert tuple(each.weight.shape) == (shape[::-1] if each.role == "embedding" else shape)
    batch = torch.from_numpy(next(usual.batches(usual.open_corpus())))
    losses = [run.loss(model, batch) for run, model in zip((usual, other), models, strict=True)]
    torch.testing.assert_close(losses[0], losses[1])  # half the weight and twice the product are one function

    before = [each.weight.detach().clone() for each in roles[1]]
    optimizer = other.optimizer.build(weight_groups(models[1], other.parametrization.treatments(roles[1], "adam")))
    set_learning_rate(optimizer, 0.01)
    losses[1].backward()
    optimizer.step()
    moved = {each.role: not torch.equal(each.weight, old) for each, old in zip(roles[1], before, strict=True)}
    assert moved == {"embedding": True, "hidden": False, "into_residual": False, "readout": True}
