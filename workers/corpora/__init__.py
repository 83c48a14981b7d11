"""Where training tokens come from: one file per kind of source."""

from isoflop.workers.corpora.bytes import ByteCorpus, BytesSpec
from isoflop.workers.corpora.corpus import Corpus, CorpusSpec
from isoflop.workers.corpora.markov import MarkovCorpus, MarkovSpec
from isoflop.workers.corpora.shards import ShardCorpus, ShardsSpec
from isoflop.workers.corpora.spec import AnyCorpus

__all__ = [
    "AnyCorpus",
    "ByteCorpus",
    "BytesSpec",
    "Corpus",
    "CorpusSpec",
    "MarkovCorpus",
    "MarkovSpec",
    "ShardCorpus",
    "ShardsSpec",
]
