"""A script that takes `key=value` words, as Hydra's do, and writes a CSV: least squares on random features.

python key_value.py model.width=64 optimizer.steps=200 out=results
"""

import sys
from pathlib import Path

import numpy as np

INPUTS, BATCH, NOISE = 128, 32, 0.1  # dimensions of the data, rows of a step, standard deviation of the targets
SETTINGS = {"model.width": 64, "optimizer.steps": 200, "optimizer.rate": 0.3, "seed": 0, "out": "."}


def settings(words: list[str]) -> dict[str, object]:
    """Return the settings with those that words change, each as the type of its default."""
    changed = dict(word.split("=", 1) for word in words)
    unknown = changed.keys() - SETTINGS.keys()
    if unknown:
        sys.exit(f"no such setting: {', '.join(sorted(unknown))}; there are {', '.join(SETTINGS)}")
    return {name: type(default)(changed.get(name, default)) for name, default in SETTINGS.items()}


def main() -> None:
    given = settings(sys.argv[1:])
    width, steps, rate = given["model.width"], given["optimizer.steps"], given["optimizer.rate"]
    fixed = np.random.default_rng(0)
    scales = np.arange(1, INPUTS + 1) ** -0.75  # (INPUTS,)
    target = np.arange(1, INPUTS + 1) ** -0.5  # (INPUTS,)
    features = fixed.standard_normal((INPUTS, 1024))[:, :width] / np.sqrt(INPUTS)  # (INPUTS, width)
    weights = np.zeros(width)
    draws = np.random.default_rng(given["seed"])
    with open(Path(given["out"], "metrics.csv"), "w", encoding="utf-8") as file:
        file.write("step,loss,params,tokens,flops\n")
        for step in range(1, steps + 1):
            x = draws.standard_normal((BATCH, INPUTS)) * scales  # (BATCH, INPUTS)
            seen = x @ features  # (BATCH, width)
            wrong = seen @ weights - x @ target - NOISE * draws.standard_normal(BATCH)
            weights -= rate * seen.T @ wrong / BATCH / np.mean(np.sum(seen**2, axis=1))
            if step % 10 == 0 or step == steps:
                left = scales * (features @ weights - target)  # what is wrong in each direction of the data
                loss = 0.5 * (left @ left + NOISE**2)
                file.write(f"{step},{loss},{width},{step * BATCH},{6 * width * step * BATCH}\n")


if __name__ == "__main__":
    main()
