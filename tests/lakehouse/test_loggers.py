"""Trainers of other libraries, logging into a lake while they train."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.loggers import lake_callback, lake_logger
from isoflop.lakehouse.loggers.names import lake_metrics

# What the libraries themselves warn about is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")
EXTRA = "pip install -e '.[exchange-test]' installs it"


def one_run(lake: Lakehouse) -> dict[str, Any]:
    (row,) = lake.query("SELECT * FROM runs").to_pylist()
    return row


def test_numbers_of_any_kind_are_taken_and_the_rest_is_left() -> None:
    import numpy as np

    logged = {"loss": np.float32(2.5), "epoch": 1, "note": "text", "image": [1, 2], "seconds": 3.0, "bad": math.nan}
    taken = lake_metrics(logged, {})
    assert set(taken) == {"loss", "epoch", "logged_seconds", "bad"} and math.isnan(taken["bad"])


def tiny_gpt() -> Any:
    transformers = pytest.importorskip("transformers", reason=EXTRA)
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def train_with_transformers(lake: Lakehouse, folder: Path, *, fails: bool = False) -> None:
    transformers = pytest.importorskip("transformers", reason=EXTRA)
    pytest.importorskip("accelerate", reason=EXTRA)
    import torch

    class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return 32

        def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
            if fails and i == 20:
                raise ValueError("planted failure")
            tokens = (torch.arange(16) + i) % 32
            return {"input_ids": tokens, "labels": tokens}

    model = tiny_gpt()
    args = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=6, per_device_train_batch_size=2, logging_steps=2, eval_strategy="steps",
        eval_steps=3, report_to=[], use_cpu=True, include_num_input_tokens_seen=True, disable_tqdm=True,
        save_strategy="no", data_seed=0, seed=0, dataloader_pin_memory=False,
    )  # fmt: skip
    with lake.run("gpt2", {"width": 16, "depth": 1}, params=model.num_parameters(), steps=6) as run:
        transformers.Trainer(
            model, args, train_dataset=Rows(), eval_dataset=Rows(), callbacks=[lake_callback(run)]
        ).train()


def test_a_transformers_trainer_logs_its_curve_and_its_evaluations(lakehouse: Lakehouse, tmp_path: Path) -> None:
    train_with_transformers(lakehouse, tmp_path)
    row = one_run(lakehouse)
    assert (row["status"], row["family"], row["width"], row["steps"]) == ("finished", "gpt2", 16, 6)
    curve = lakehouse.query("SELECT step, tokens, flops, seconds, loss FROM curves ORDER BY step").to_pylist()
    assert [(point["step"], point["tokens"]) for point in curve] == [(2, 64), (4, 128), (6, 192)]
    assert all(point["flops"] > 0 and point["seconds"] > 0 and math.isfinite(point["loss"]) for point in curve)
    evaluated = lakehouse.query("SELECT step FROM metrics WHERE metric = 'validation_loss' ORDER BY step").to_pylist()
    assert [point["step"] for point in evaluated] == [3, 6]


def test_a_trainer_that_raises_leaves_a_failed_run_with_its_curve(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="planted failure"):
        train_with_transformers(lakehouse, tmp_path, fails=True)
    row = one_run(lakehouse)
    assert (row["status"], row["reason"], row["error"]) == ("failed", "crash", "ValueError: planted failure")


def test_a_lightning_trainer_logs_its_curve_and_its_validation(lakehouse: Lakehouse, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason=EXTRA)
    import torch

    class Line(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(1, 1)
            self.seen: list[float] = []

        def _loss(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.mse_loss(self.layer(batch), 2 * batch)

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            loss = self._loss(batch)
            self.seen.append(loss.item())
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: torch.Tensor, _: int) -> None:
            self.log("val_loss", self._loss(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])

    data = torch.utils.data.DataLoader(torch.linspace(0, 1, 12).reshape(12, 1), batch_size=2)
    with lakehouse.run("line", {"width": 1}, params=2) as run:
        trainer = lightning.Trainer(
            max_steps=6, logger=lake_logger(run), log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        )  # fmt: skip
        module = Line(0.1)
        trainer.fit(module, data, data)
    row = one_run(lakehouse)
    assert (row["status"], row["params"]) == ("finished", 2) and '"rate":0.1' in row["results"].replace(" ", "")
    curve = lakehouse.query("SELECT step, loss FROM curves ORDER BY step").to_pylist()
    assert [(point["step"], point["loss"]) for point in curve] == list(enumerate(module.seen)) and len(curve) == 6
    validated = lakehouse.query("SELECT step, value FROM metrics WHERE metric = 'validation_loss'").to_pylist()
    assert [point["step"] for point in validated] == [5]


@pytest.mark.parametrize(
    ("libraries", "make"),
    [(("transformers",), lake_callback), (("lightning", "pytorch_lightning"), lake_logger)],
)
def test_a_missing_library_is_named(
    lakehouse: Lakehouse, libraries: tuple[str, ...], make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with lakehouse.run("mine", {}) as run, pytest.raises(ModuleNotFoundError, match=libraries[-1]):
        make(run)
