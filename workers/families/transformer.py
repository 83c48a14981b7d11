"""The transformer family: a decoder-only language model, described by its shape and its recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.models.counts import Counts, transformer_counts
from isoflop.workers.components import RoleWeight, Scalar, Shape
from isoflop.workers.corpora import AnyCorpus, BytesSpec, Corpus
from isoflop.workers.families.gradient import GradientFamily, HeldOut
from isoflop.workers.families.refusal import divides, wrong_field

if TYPE_CHECKING:
    import torch

    from isoflop.workers.devices import TorchDevice

USUAL_HEAD_WIDTH = 32  # narrow models would have one or two heads of 64


def _usual_heads(known: dict[str, Any]) -> int:
    """Heads of width 32 where that divides the width, else one head."""
    width = int(known["width"])
    return width // USUAL_HEAD_WIDTH if width % USUAL_HEAD_WIDTH == 0 else 1


class Transformer(GradientFamily):
    """Decoder-only, pre-norm, no biases; by default rotary positions, GELU; weights are the matrices that are counted.

    The vocabulary comes from the corpus unless it is given. The training loss recorded for a run is the
    mean over its last steps, the validation loss is taken at the end on `validation_tokens` held-out tokens.
    """

    name: ClassVar[str] = "transformer"
    example: ClassVar[Mapping[str, object]] = {
        "corpus": {"kind": "markov", "vocabulary": 16},
        "width": 16,
        "depth": 1,
        "sequence_length": 16,
        "steps": 30,
        "validation_tokens": 0,
    }
    shape_settings: ClassVar[tuple[str, ...]] = ("width", "depth")
    aliases: ClassVar[Mapping[str, str]] = {"task": "corpus"}
    later_settings: ClassVar[tuple[str, ...]] = (
        "mlp", "positions", "norm", "qk_norm", "logit_cap", "window", "checkpointing",
    )  # fmt: skip

    corpus: AnyCorpus = Field(default_factory=BytesSpec, description="where the tokens come from")
    width: int = Field(ge=1, description="of the residual stream")
    depth: int = Field(ge=1, description="layers")
    heads: int = Field(default_factory=_usual_heads, ge=1, description="attention heads; by default of width 32")
    head_width: int = Field(
        default_factory=lambda known: known["width"] // known["heads"], ge=1, description="by default width / heads"
    )
    feed_forward: int = Field(
        default_factory=lambda known: 4 * known["width"], ge=1, description="hidden width; by default 4 * width"
    )
    kv_heads: int = Field(
        default_factory=lambda known: known["heads"], ge=1,
        description="heads of keys and values, each for a group of heads; by default heads",
    )  # fmt: skip
    mlp: Literal["plain", "swiglu", "geglu"] = Field(
        default="plain", description="feed-forward: GELU, or a gate, with two input matrices"
    )
    positions: Literal["rotary", "learned", "none"] = Field(default="rotary", description="how positions are known")
    norm: Literal["layer", "rms"] = Field(default="layer", description="LayerNorm or RMSNorm, with a gain")
    qk_norm: bool = Field(default=False, description="whether each head's queries and keys are normalized")
    logit_cap: float | None = Field(default=None, gt=0, description="c of c * tanh(logits / c); null for none")
    window: int | None = Field(default=None, ge=1, description="last positions that attention sees; null for all")
    vocabulary: int = Field(
        default_factory=lambda known: known["corpus"].known_vocabulary, validate_default=True, ge=1,
        description="number of token ids; by default the corpus's",
    )  # fmt: skip
    sequence_length: int = Field(default=256, ge=1, description="tokens a sequence")
    tied: bool = Field(default=False, description="whether the head is the embedding table")
    attention: Literal["fused", "plain"] = Field(default="fused", description="plain writes the scores to memory")
    checkpointing: bool = Field(default=False, description="whether backward computes layers again to save memory")
    validation_tokens: int = Field(default=65_536, ge=0, description="held-out tokens read at the end")
    also_validate: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], AnyCorpus] = Field(
        default={}, description="name to corpus: others whose held-out text is read too: validation_loss_NAME"
    )

    @field_validator("heads")
    @classmethod
    def _divides_the_width(cls, value: int, info: ValidationInfo) -> int:
        return divides("heads", value, "width", info)

    @field_validator("kv_heads")
    @classmethod
    def _divides_the_heads(cls, value: int, info: ValidationInfo) -> int:
        return divides("kv_heads", value, "heads", info)

    @field_validator("vocabulary", mode="before")
    @classmethod
    def _holds_every_token(cls, value: object, info: ValidationInfo) -> object:
        corpus = info.data.get("corpus")
        if value is None:
            raise wrong_field("vocabulary", "is missing; token files do not say how many different ids they use")
        known = None if corpus is None else corpus.known_vocabulary
        if corpus is not None and known is not None and isinstance(value, int | float) and value < known:
            raise wrong_field("vocabulary", f"is {value}, but corpus {corpus.label} has {known} different tokens")
        return value

    @field_validator("also_validate")
    @classmethod
    def _is_read(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        vocabulary = info.data.get("vocabulary")
        if value and info.data.get("validation_tokens") == 0:
            raise wrong_field("also_validate", "is never read where validation_tokens is 0")
        for name, corpus in value.items():
            known = corpus.known_vocabulary
            if known is not None and vocabulary is not None and known > vocabulary:
                raise wrong_field(
                    "also_validate",
                    f"has {name}, of {known} different tokens (corpus {corpus.label}); the vocabulary is {vocabulary}",
                )
        return value

    @property
    def batch_tokens(self) -> int:
        """Tokens of one step: sequences times their length."""
        return self.batch_size * self.sequence_length

    def metrics(self) -> Mapping[str, str]:
        """Return the curve's metrics, and what is measured at the end beside the validation loss."""
        found = dict(super().metrics())
        texts = {"": self.corpus, **{f"_{name}": corpus for name, corpus in self.also_validate.items()}}
        for kind in ("", "ema_") if self.ema is not None else ("",):
            for suffix, corpus in texts.items() if self.validation_tokens else ():
                if kind or suffix:
                    found[f"{kind}validation_loss{suffix}"] = "nat/token"
                if corpus.known_bytes_per_token is not None:
                    found[f"{kind}bits_per_byte{suffix}"] = "bit/byte"
        return found

    def counts(self) -> Counts:
        """Return what a step costs; see `isoflop.lakehouse.models.counts`."""
        return transformer_counts(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            head_width=self.head_width,
            feed_forward=self.feed_forward,
            kv_heads=self.kv_heads,
            window=self.window,
            is_gated=self.mlp != "plain",
            has_qk_norm=self.qk_norm,
            has_logit_cap=self.logit_cap is not None,
            positions=self.positions,
            norm=self.norm,
            checkpointing=self.checkpointing,
            vocabulary=self.vocabulary,
            sequence_length=self.sequence_length,
            batch_size=self.batch_size,
            micro_batches=self.micro_batches,
            tied=self.tied,
            attention=self.attention,
            precision=self.precision.activations,
            compiled=self.compile,
            optimizer=self.optimizer.traffic,
            has_ema=self.ema is not None,
        )

    def config(self) -> dict[str, Scalar]:
        """Return the settings as scalars; those of the corpus are `corpus` and `corpus_<field>`."""
        own = {**super().config(), "batch_tokens": self.batch_tokens, **self.corpus.flat()}
        own["also_validate"] = ", ".join(self.also_validate) or None
        for name, corpus in self.also_validate.items():
            own |= corpus.flat(f"also_validate_{name}")
        return own

    def extra(self) -> dict[str, Scalar]:
        """Return the columns that follow from the config, operations by class among them."""
        work = self.counts().work
        return {**super().extra(), **({} if work is None else work.columns(self.steps))}

    def usual(self) -> dict[str, Scalar]:
        """Return the later settings that have their usual value; as many heads of keys as heads are usual."""
        return {**super().usual(), **({"kv_heads": self.kv_heads} if self.kv_heads == self.heads else {})}

    def open_corpus(self) -> Corpus:
        """Return the corpus, opened."""
        return self.corpus.open()

    def unique_tokens(self, corpus: Corpus) -> int:
        """Return the tokens of the run, or those of the corpus where these are fewer."""
        there = corpus.unique_tokens(self.sequence_length)
        return self.tokens if there is None else min(self.tokens, there)

    def build(self, device: TorchDevice, generator: torch.Generator) -> torch.nn.Module:
        """Return the decoder on `device` with the parametrization's initial weights."""
        from isoflop.workers.families.decoder import Decoder, DecoderShape

        model = Decoder(
            DecoderShape(
                width=self.width,
                depth=self.depth,
                heads=self.heads,
                head_width=self.head_width,
                kv_heads=self.kv_heads,
                feed_forward=self.feed_forward,
                vocabulary=self.vocabulary,
                sequence_length=self.sequence_length,
                attention_scale=self.parametrization.attention_scale(self.head_width),
                mlp=self.mlp,
                positions=self.positions,
                norm=self.norm,
                qk_norm=self.qk_norm,
                logit_cap=self.logit_cap,
                window=self.window,
                tied=self.tied,
                is_fused=self.attention == "fused",
                is_checkpointed=self.checkpointing,
            )
        )
        self.parametrization.initialize(self.roles(model), generator)
        return model.to(device.torch_device)

    def roles(self, model: torch.nn.Module) -> Sequence[RoleWeight]:
        """Return the weights of a decoder; a tied head is the embedding."""
        from isoflop.workers.families.decoder import Decoder

        assert isinstance(model, Decoder)
        attended, keyed = self.heads * self.head_width, self.kv_heads * self.head_width
        inner = (1 if self.mlp == "plain" else 2) * self.feed_forward
        into, out = self._shape(self.width, attended + 2 * keyed), self._shape(attended, self.width)
        wide, narrow = self._shape(self.width, inner), self._shape(self.feed_forward, self.width)
        table, head = self._shape(self.vocabulary, self.width), self._shape(self.width, self.vocabulary)
        places, gain = self._shape(self.sequence_length, self.width), self._shape(self.width, self.width)
        return [
            RoleWeight("embedding", model.embedding, table),
            *([] if model.positions is None else [RoleWeight("embedding", model.positions, places)]),
            *(
                weight
                for block in model.layers()
                for weight in (
                    RoleWeight("norm", block.attention_norm, gain),
                    RoleWeight("hidden", block.queries_keys_values, into),
                    *(
                        RoleWeight("norm", each, gain)
                        for each in (block.query_norm, block.key_norm)
                        if each is not None
                    ),
                    RoleWeight("into_residual", block.attention_out, out),
                    RoleWeight("norm", block.feed_forward_norm, gain),
                    RoleWeight("hidden", block.feed_forward_in, wide),
                    RoleWeight("into_residual", block.feed_forward_out, narrow),
                )
            ),
            RoleWeight("final_norm", model.norm, gain),
            RoleWeight("readout", model.head, head, is_shared=self.tied),
        ]

    def _shape(self, inputs: int, outputs: int) -> Shape:
        return Shape(inputs, outputs, self.depth, self.width)

    @classmethod
    def shape_for(cls, params: float, given: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return the width and depth of a decoder with about so many params; see `transformer_shape`."""
        from isoflop.workers.families.transformer_shape import transformer_shape

        counted = ("corpus", "vocabulary", "tied", "mlp", "positions", "sequence_length")
        known = cls.parse(
            {"width": 64, "depth": 1, "steps": 1, **{name: given[name] for name in counted if name in given}}
        )
        width, depth = transformer_shape(
            params,
            known.vocabulary,
            tied=known.tied,
            is_gated=known.mlp != "plain",
            positions=known.sequence_length if known.positions == "learned" else 0,
        )
        return {"width": width, "depth": depth}

    def batches(self, corpus: Corpus, *, first_step: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield (batch_size, sequence_length + 1) tokens for each step from `first_step` on."""
        return corpus.batches(
            batch_size=self.batch_size, sequence_length=self.sequence_length, seed=self.seed, first_step=first_step
        )

    def loss(self, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy [nat/token] of predicting each next token of (b, s + 1) ids."""
        loss: torch.Tensor = model(batch[:, :-1], batch[:, 1:])
        return loss

    def validation_batches(self, corpus: Corpus) -> list[NDArray[np.int64]]:
        """Return held-out batches, together at most `validation_tokens` tokens."""
        wanted = self.validation_tokens // self.sequence_length
        held_out = corpus.validation(num_sequences=wanted, sequence_length=self.sequence_length)
        size = max(1, self.batch_size // self.micro_batches)
        return [held_out[start : start + size] for start in range(0, len(held_out), size)]

    def held_out(self, corpus: Corpus) -> list[HeldOut]:
        """Return the corpus's own held-out text and that of the others.

        Raises
        ------
        RecordError : if another corpus has tokens that the model has not, or holds nothing out
        """
        found = [HeldOut("", self.validation_batches(corpus), self.corpus.known_bytes_per_token)]
        for name, spec in self.also_validate.items():
            other = spec.open()
            if other.vocabulary > self.vocabulary:
                raise RecordError(
                    f"corpus {spec.label} of also_validate has {other.vocabulary} different tokens, "
                    f"but the vocabulary is {self.vocabulary}",
                    hint="evaluate on text of the same tokenizer, or give a larger vocabulary",
                )
            batches = self.validation_batches(other)
            if not batches and self.validation_tokens:
                raise RecordError(
                    f"corpus {spec.label} of also_validate holds out nothing of {self.sequence_length} tokens",
                    hint="a larger validation_fraction, more text, or shorter sequences",
                )
            found.append(HeldOut(f"_{name}", batches, spec.known_bytes_per_token))
        return found

    def loss_of_knowing_nothing(self) -> float:
        """Return the logarithm of the vocabulary."""
        return math.log(self.vocabulary)
