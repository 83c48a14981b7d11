"""A Lightning module and its Trainer, on data made up on the spot: a network learns another, fixed one."""

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

import isoflop
from isoflop.lakehouse.loggers import lake_logger

INPUTS, BATCH = 16, 64


class Student(lightning.LightningModule):
    """One hidden layer, which is to compute what a wider one of fixed weights does."""

    def __init__(self, width: int, learning_rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, 1))
        self.rate = learning_rate
        self.params = sum(each.numel() for each in self.layers.parameters())

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self.layers(x), y)
        rows = float(BATCH * (self.global_step + 1))
        self.log_dict({"train_loss": loss, "tokens": rows, "flops": 6 * self.params * rows})
        return loss

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.layers(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def rows(number: int, seed: int) -> torch.utils.data.DataLoader:
    """Return batches of inputs (BATCH, INPUTS) and targets (BATCH, 1)."""
    teacher = torch.Generator().manual_seed(0)
    inner, outer = torch.randn(INPUTS, 128, generator=teacher), torch.randn(128, 1, generator=teacher)
    x = torch.randn(number, INPUTS, generator=torch.Generator().manual_seed(seed))
    y = torch.tanh(x @ inner / INPUTS**0.5) @ outer / 128**0.5
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=BATCH)


def main() -> None:
    settings = {"width": 32, "steps": 300, "learning_rate": 1e-2}  # of a run that is started by hand
    with isoflop.run("lightning", settings, resume=True) as run:
        torch.manual_seed(run.seed)
        student = Student(run.config["width"], run.config["learning_rate"])
        run.summary(params=student.params)
        saving = ModelCheckpoint(dirpath=run.output, save_last=True, every_n_train_steps=50)
        trainer = lightning.Trainer(
            max_steps=run.config["steps"], logger=lake_logger(run), callbacks=[saving], log_every_n_steps=10,
            accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        last = run.output / "last.ckpt"
        trainer.fit(student, rows(16_384, seed=1), rows(512, seed=2), ckpt_path=last if last.exists() else None)


if __name__ == "__main__":
    main()
