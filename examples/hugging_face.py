"""A GPT-2 of any width by the Trainer of Hugging Face, on text made up on the spot: nothing is downloaded."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

import isoflop
from isoflop.lakehouse.loggers import lake_callback

VOCABULARY, CONTEXT, BATCH = 64, 32, 8


class Text(torch.utils.data.Dataset):
    """Rows of made-up text: each letter is the one before, plus one of three numbers."""

    def __init__(self, rows: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        hops = torch.tensor([1, 3, 7])[torch.randint(3, (rows, CONTEXT), generator=draw)]
        starts = torch.randint(VOCABULARY, (rows, 1), generator=draw)
        self.letters = (starts + hops.cumsum(1)) % VOCABULARY  # (rows, CONTEXT)

    def __len__(self) -> int:
        return len(self.letters)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.letters[row], "labels": self.letters[row]}


def main() -> None:
    settings = {"width": 32, "depth": 2, "steps": 60, "learning_rate": 3e-3}  # of a run that is started by hand
    with isoflop.run("hugging-face", settings, resume=True) as run:
        width, steps = run.config["width"], run.config["steps"]
        torch.manual_seed(run.seed)
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY,
                n_positions=CONTEXT,
                n_embd=width,
                n_layer=run.config["depth"],
                n_head=max(1, width // 16),
                bos_token_id=0,
                eos_token_id=0,
            )
        )
        run.summary(params=model.num_parameters())
        arguments = TrainingArguments(
            output_dir=str(run.output), max_steps=steps, per_device_train_batch_size=BATCH,
            learning_rate=run.config["learning_rate"], logging_steps=10, save_steps=20, save_total_limit=1,
            include_num_input_tokens_seen=True, report_to=[], use_cpu=True, disable_tqdm=True, seed=run.seed,
            dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(
            model, arguments, train_dataset=Text(4096, seed=1), eval_dataset=Text(64, seed=2),
            callbacks=[lake_callback(run)],
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run.output)))
        trainer.evaluate()


if __name__ == "__main__":
    main()
