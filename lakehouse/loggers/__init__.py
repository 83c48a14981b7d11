"""Other trainers, logging into the lake while they train.

A loop of your own needs no logger, only a run:

>>> import isoflop, tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> with isoflop.open(f"{folder.name}/runs.duckdb") as lake:
...     with lake.run("mine", {"width": 64}, seed=1, params=1e6, tokens=4096 * 3, steps=3) as run:
...         for step in range(1, 4):
...             run.log(step=step, loss=4.0 / step, tokens=4096 * step)
...     lake.query("SELECT step, tokens, loss FROM curves ORDER BY step").to_pylist()[-1]
{'step': 3, 'tokens': 12288.0, 'loss': 1.3333333333333333}
>>> folder.cleanup()

Leaving the block ends the run as finished, an exception as failed with its traceback; `log` never waits for
the disk. With Hugging Face's Trainer or Lightning the same block holds the training, and the run goes in as
`callbacks=[lake_callback(run)]` or `logger=lake_logger(run)`.
"""

from isoflop.lakehouse.loggers.huggingface import lake_callback
from isoflop.lakehouse.loggers.lightning import lake_logger

__all__ = ["lake_callback", "lake_logger"]
