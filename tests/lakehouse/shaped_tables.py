"""Tables as people type, export and publish them, made in a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from shaped_files import BATCH, SIZES, STEPS, at, csv, loss, written


def pythia(folder: Path) -> Path:
    rows = [
        {"model_size": name, "train_tokens": "300B", "learning_rate": 1e-3, "final_loss": round(loss(params, 3e11), 5)}
        for name, params in SIZES.items()
    ]
    return csv(folder / "pythia.csv", rows)


def semicolons(folder: Path) -> Path:
    """A spreadsheet of a country that writes 3,5, with a byte order mark."""
    lines = ["Parameter;Tokens;Loss"]
    for params in SIZES.values():
        grouped, told = f"{params:,}".replace(",", "."), f"{loss(params, 2e10):.4f}".replace(".", ",")
        lines.append(f"{grouped};20.000.000.000;{told}")
    return written(folder / "läufe.csv", "\r\n".join(lines) + "\r\n", "utf-8-sig")


def tabs(folder: Path) -> Path:
    rows = [
        {"run": name, "n_params": params, "n_tokens": 2e10, "val_loss": loss(params, 2e10)}
        for name, params in SIZES.items()
    ]
    return csv(folder / "runs.tsv", rows, "\t")


def nested_json(folder: Path) -> Path:
    runs = [
        {
            "name": name, "config": {"model": {"n_params": params, "n_layer": 12}, "lr": 1e-3},
            "history": {"step": list(STEPS), "train_loss": [at(step, params) for step in STEPS]},
        }
        for name, params in SIZES.items()
    ]  # fmt: skip
    return written(folder / "runs.json", json.dumps({"runs": runs}))


def json_lines(folder: Path) -> Path:
    """A log of one run, a line a report; some reports are of an evaluation."""
    lines: list[dict[str, Any]] = []
    for step in STEPS:
        lines.append({"step": step, "train_loss": at(step), "lr": 1e-3, "tokens": step * BATCH})
        if step % 500 == 0:
            lines.append({"step": step, "val_loss": at(step) + 0.02})
    return written(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def nanogpt_log(folder: Path) -> Path:
    """What grep makes of `iter 100: loss 3.9, time 250.1ms, mfu 38.2%`."""
    rows = [{"iter": step, "loss": round(at(step), 4), "time_ms": 250.1, "mfu": "38.2%"} for step in STEPS]
    return csv(folder / "nanogpt.csv", rows)


def llmc_log(folder: Path) -> Path:
    """llm.c's main.log, `s:500 tel:3.9` and `s:500 trl:3.9 lr:0.0006`, as a table: a line is a row."""
    rows: list[dict[str, Any]] = []
    for step in STEPS:
        if step % 500 == 0:
            rows.append({"step": step, "val_loss": at(step) + 0.02})
        rows.append({"step": step, "train_loss": at(step), "lr": 6e-4, "norm": 0.3})
    return csv(folder / "main_log.csv", rows)


def olmo(folder: Path) -> Path:
    """The metrics that OLMo's team exports from its tracker."""
    rows = [
        {
            "_step": step, "train/CrossEntropyLoss": at(step, params), "throughput/total_tokens": step * BATCH,
            "optim/learning_rate_group0": 3e-4, "name": f"OLMo-{name}",
        }
        for name, params in SIZES.items()
        for step in STEPS
    ]  # fmt: skip
    return csv(folder / "olmo_wandb.csv", rows)


def extracted_figure(folder: Path) -> Path:
    """Points read off a published figure: FLOPs on one axis, the loss on the other."""
    rows = [
        {"Model Size": params, "Training FLOP": f"{6 * params * 2e10:.6e}", "loss": round(loss(params, 2e10), 6)}
        for params in SIZES.values()
    ]
    return csv(folder / "svg_extracted_data.csv", rows)


def notable_models(folder: Path) -> Path:
    """A table of published models: sizes and compute, no loss."""
    rows = [
        {
            "Model": f'"Model {name}, base"', "Organization": "Lab", "Publication date": "2026-01-01",
            "Parameters": f"{params}.0", "Training compute (FLOP)": f"{6 * params * 3e11:.3e}",
            "Training dataset size (datapoints)": "3e11", "Confidence": "Confident",
        }
        for name, params in SIZES.items()
    ]  # fmt: skip
    return csv(folder / "notable_ai_models.csv", rows)


def perplexities(folder: Path) -> Path:
    rows = [
        {"model": name, "params": name, "tokens": "20B", "perplexity": math.exp(loss(params, 2e10))}
        for name, params in SIZES.items()
    ]
    return csv(folder / "ppl.csv", rows)


def bits_per_byte(folder: Path) -> Path:
    rows = [
        {"params": params, "tokens": 2e10, "val_bpb": loss(params, 2e10) / math.log(2) / 4.4}
        for params in SIZES.values()
    ]
    return csv(folder / "bpb.csv", rows)


def letters(folder: Path) -> Path:
    rows = [{"N": params, "D": 2e10, "C": 6 * params * 2e10, "L": loss(params, 2e10)} for params in SIZES.values()]
    return csv(folder / "ndc.csv", rows)


def thousands(folder: Path) -> Path:
    rows = [
        {"params": f'"{params:,}"', "tokens": '"20,000,000,000"', "loss": f"{loss(params, 2e10):.5f}", "dropout": "10%"}
        for params in SIZES.values()
    ]
    return csv(folder / "thousands.csv", rows)


def crashed(folder: Path) -> Path:
    rows = [
        {"run": name, "status": status, "params": params, "tokens": 2e10, "loss": told}
        for (name, params), status, told in zip(
            SIZES.items(), ("finished", "crashed", "OOM", "finished"), ("3.1", "", "nan", "2.6"), strict=True
        )
    ]
    return csv(folder / "status.csv", rows)


def twice(folder: Path) -> Path:
    rows = [{"params": params, "tokens": 2e10, "loss": loss(params, 2e10)} for params in SIZES.values()]
    return csv(folder / "twice.csv", [*rows, *rows[:2]])


def file_a_run(folder: Path) -> Path:
    for name, params in SIZES.items():
        rows = [{"step": step, "params": params, "train_loss": at(step, params)} for step in STEPS]
        csv(folder / "all" / name / "train.csv", rows)
    return folder / "all"
