"""The second half of a declaration: tokens, batches, the network, what a model must achieve."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from pipelines.declaration.section_base import MOST, Function, Section, Tokens
from pipelines.declaration.slices import SliceKind

Figure = Annotated[float, Field(ge=-1e9, le=1e9)]  # of any metric
Share = Annotated[float, Field(ge=0, lt=1)]
LOWER_IS_BETTER = ("log_loss", "nats_per_character", "bits_per_character", "perplexity")


class TokensSpec(Section):
    """How text becomes ids."""

    kind: Literal["char", "word", "subword"] = Field(
        description="what an id stands for; subword: a piece that SentencePiece learns on train"
    )
    lower: bool = Field(False, description="turn the text into lower case first")
    words: Literal["all", "letters", "punctuation"] = Field(
        "all",
        description="all: runs of letters (with their marks), digits and _; letters: only A to Z, "
        "' and - are kept, words that start with - are dropped; punctuation: words, as in don't, "
        "and each other character",
    )
    begin: str | None = Field(None, description="token put before each document")
    end: str | None = Field(
        None, description="token put after each document; generation stops there"
    )
    min_count: PositiveInt = Field(1, le=MOST, description="rarer tokens in train become unknown")
    max_size: PositiveInt | None = Field(
        None,
        le=10_000_000,
        description="number of vocabulary entries, including padding and unknown",
    )
    max_tokens: Tokens | None = Field(None, description="longer documents are cut to this")
    keep: Literal["first", "last"] = Field("last", description="which end is kept")

    @model_validator(mode="after")
    def _possible(self) -> TokensSpec:
        if self.words != "all" and self.kind != "word":
            raise ValueError(f"words {self.words} is for kind word, not for {self.kind}")
        if self.min_count > 1 and self.kind == "subword":
            raise ValueError("min_count has no effect on subwords; use max_size")
        return self


class BatchesSpec(Section):
    """How token ids become padded rows; docs/batches.md describes the files."""

    batch_size: PositiveInt = Field(64, le=65_536, description="rows of a batch")
    buckets: Literal["auto"] | tuple[Tokens, ...] = Field(
        "auto", description="row widths; auto: those with the least padding"
    )
    max_buckets: PositiveInt = Field(8, le=1000, description="maximum number of widths for auto")
    layout: Literal["text", "rows", "documents", "windows"] = Field(
        "text",
        description="language models: text is running text, as independent rows or as lanes for a "
        "carried state; rows always uses rows; documents gives each document a row; "
        "windows predicts only the token after each sequence_length tokens",
    )
    sequence_length: Tokens | None = Field(None, description="language models: tokens per row")


class RegistrySpec(Section):
    """Which metric decides, and what a new model must achieve to become champion."""

    metric: Literal[
        "accuracy",
        "log_loss",
        "roc_auc",
        "macro_f1",
        "bits_per_character",
        "nats_per_character",
        "perplexity",
    ] = Field(
        description="decides whether a new model becomes champion; classifiers have accuracy, "
        "log_loss, macro_f1 (the mean F1 of all classes) and, with two labels, roc_auc"
    )
    floor: Figure | Literal["baseline"] | None = Field(
        None, description="the worst value that can be promoted; or baseline: better than the best"
    )
    margin: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="smaller differences from the champion are ignored, as they may come from "
        "another seed",
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="confidence level of the comparison")
    slice_floors: dict[SliceKind, Figure | dict[str, Figure]] = Field(
        {},
        description="a floor for every slice of a kind in evaluation.slices: {length: 0.7}, or for "
        "named slices: {length: {over 400: 0.7}}",
    )

    class_floor: Share | dict[str, Share] | None = Field(
        None,
        description="classifiers: the least recall, on the test split, of each class, or of some: "
        "{spam: 0.9}",
    )

    approval: Literal["automatic", "manual"] = Field(
        "automatic",
        description="manual: a model that would become champion waits until a person approves it",
    )

    @property
    def of_classifiers(self) -> bool:
        return self.metric in ("accuracy", "log_loss", "roc_auc", "macro_f1")

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER


Units = Annotated[PositiveInt, Field(le=65_536)]


class DropoutSpec(Section):
    """The share of values that training sets to zero, by place.

    The tokens of a row share their mask (Gal and Ghahramani 2016), except for `word`.
    """

    word: Share = Field(0.0, description="of the tokens, each with its whole embedding vector")
    embedding: Share = Field(0.0, description="of the embedding vectors")
    recurrent: Share = Field(
        0.0,
        description="of the recurrent weights, for all rows of a batch (Merity, Keskar and Socher "
        "2018)",
    )
    between: Share = Field(0.0, description="of the outputs of each recurrent layer but the last")
    output: Share = Field(0.0, description="of the last recurrent layer's outputs, after pooling")
    dense: Share = Field(
        0.0, description="of the dense layer's outputs, or of the projection's of tie_embeddings"
    )


def _by_place(value: Any) -> Any:
    """Here, because the errors of a union name its members, which are not keys of the file."""
    return DropoutSpec.model_validate(value) if isinstance(value, dict) else value


class StartSpec(Section):
    """Another pipeline's registered model."""

    pipeline: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="its name")
    version: Literal["champion"] | Annotated[int, Field(ge=1, le=MOST)] = Field(
        "champion", description="its champion at the time of the run, or a version's number"
    )


Layers = Annotated[tuple[Units, ...], Field(min_length=1, max_length=32)]


def _per_layer(value: Any) -> Any:
    """A single layer's units may be written without brackets."""
    return (value,) if isinstance(value, int) else value


class ModelSpec(Section):
    """The recurrent network."""

    kind: Literal["classifier", "language_model"] = Field(
        description="what the network predicts: labels, or the next token"
    )
    cell: Literal["simple", "lstm", "gru", "peephole"] = Field(
        "lstm", description="the recurrent cell; docs/cells.md has their formulas"
    )
    bidirectional: bool = Field(
        False, description="classifiers: read the text in both directions, each with its own units"
    )
    embedding: Units = Field(64, description="size of a token's embedding vector")
    units: Annotated[Layers, BeforeValidator(_per_layer, json_schema_input_type=Units | Layers)] = (
        Field((64,), description="size of each recurrent layer, one number per layer")
    )
    dense: Units | None = Field(None, description="hidden ReLU units before the logit")
    dropout: Annotated[Share | DropoutSpec, BeforeValidator(_by_place)] = Field(
        0.0,
        description="a number: the share of a language model's recurrent outputs, or of what a "
        "classifier's logit reads, with a mask for each token; or shares by place",
    )
    recurrent_initializer: Literal["orthogonal", "glorot_uniform"] = Field(
        "orthogonal", description="how the recurrent weights start"
    )
    stateful: bool = Field(False, description="carry the state from batch to batch")
    tie_embeddings: bool = Field(
        False,
        description="the logits are products with the embedding vectors (Press and Wolf 2017), "
        "through a projection if the last units are not as many as the embedding's",
    )
    pool: Literal["last", "mean", "max", "all"] = Field(
        "last",
        description="what a classifier reads of the last layer's outputs: the last, their mean, "
        "their maximum, or all three",
    )
    residual: bool = Field(
        False, description="each recurrent layer but the first adds its input to its output"
    )
    layer_norm: bool = Field(
        False,
        description="each recurrent layer's outputs are normalized, after the residual connection "
        "(Ba, Kiros and Hinton 2016)",
    )
    builder: Function | None = Field(
        None,
        description="your own function, mypackage.module:function, that builds the network: "
        "a Keras model with the inputs and outputs of the one that is declared",
    )
    start_from: StartSpec | None = Field(
        None,
        description="embedding and recurrent layers start with the weights of another pipeline's "
        "registered model, and tokens takes its vocabulary: {pipeline: NAME, version: champion}",
    )

    @property
    def places(self) -> DropoutSpec:
        """`dropout` by place. A number drops a classifier's last hidden values, dense or not."""
        if isinstance(self.dropout, DropoutSpec):
            return self.dropout
        if self.kind == "classifier":
            return DropoutSpec(dense=self.dropout)
        return DropoutSpec(between=self.dropout, output=self.dropout)

    @property
    def projected(self) -> bool:
        return self.tie_embeddings and self.units[-1] != self.embedding

    @model_validator(mode="after")
    def _possible(self) -> ModelSpec:
        if self.kind == "language_model":
            self._language_model_is_possible()
        else:
            self._classifier_is_possible()
        if self.builder and (self.start_from or self.stateful):
            key = "start_from" if self.start_from else "stateful"
            raise ValueError(f"{key} is for Folio's own networks; remove it, or builder")
        if self.residual and len(set(self.units)) != 1:
            raise ValueError(
                f"residual adds a layer's input to its output: units {list(self.units)} must be "
                "equal; set it to false"
            )
        if self.residual and len(self.units) == 1:
            raise ValueError("residual needs a second layer in units; set it to false")
        if isinstance(self.dropout, DropoutSpec):
            self._dropout_is_possible(self.dropout)
        return self

    def _language_model_is_possible(self) -> None:
        if self.bidirectional:
            raise ValueError(
                "a bidirectional language model would see the token that it predicts; "
                "set it to false"
            )
        if self.dense:
            raise ValueError("dense is for classifiers; a language model has no dense layers")
        if self.pool != "last":
            raise ValueError("pool is for classifiers; a language model predicts after each token")

    def _classifier_is_possible(self) -> None:
        if self.stateful:
            raise ValueError("stateful is not for classifiers: their documents are unrelated")
        if self.tie_embeddings:
            raise ValueError("tie_embeddings is for language models; classifiers predict labels")

    def _dropout_is_possible(self, dropout: DropoutSpec) -> None:
        if dropout.between and len(self.units) == 1:
            raise ValueError("dropout.between needs a second layer in units; use dropout.output")
        if dropout.dense and not (self.dense or self.projected):
            raise ValueError(
                "dropout.dense: there is no dense layer and no projection; use dropout.output"
            )
