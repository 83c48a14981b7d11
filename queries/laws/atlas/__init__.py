"""Laws of papers with the numbers that the papers give: `published:besiroglu_2024` in a statement.

What is here is facts with their sources, nothing fitted by us unless `about` says so. Params and tokens are counts,
flops the training FLOP of a run, losses nats a token; a paper that counts otherwise is converted, and says so.
"""

from isoflop.queries.laws.atlas.entries import ATLAS
from isoflop.queries.laws.atlas.entry import PublishedLaw, find_published_law

__all__ = ["ATLAS", "PublishedLaw", "find_published_law"]
