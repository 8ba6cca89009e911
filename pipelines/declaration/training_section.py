"""How a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from pipelines.declaration.model_sections import Share
from pipelines.declaration.section_base import OPERATIONAL, Section, Seed, Tokens


class AdversarialSpec(Section):
    """A loss under the worst small change of the embedding vectors (Miyato, Dai and Goodfellow
    2017)."""

    kind: Literal["adversarial", "virtual"] = Field(
        description="adversarial: the change raises the loss; virtual: it changes the prediction, "
        "which needs no label (see corpus.unlabelled)"
    )
    norm: float = Field(
        2.0,
        gt=0,
        le=1e6,
        description="Euclidean norm of the change of a whole document, in standard deviations of "
        "the embedding vectors' values",
    )
    weight: float = Field(1.0, gt=0, le=1e6, description="of this loss, beside the usual one")


class TrainingSpec(Section):
    """How the weights are trained. Validation picks the epoch; the test split is never read
    here."""

    seed: Seed | None = Field(
        None,
        json_schema_extra=OPERATIONAL,  # the key has `seed` instead
        description="of the weights and of the order of batches; default: seed",
    )
    optimizer: Literal["adam", "rmsprop", "sgd"] = Field(
        "adam", description="Keras's optimizer of this name"
    )
    learning_rate: float = Field(
        0.001, gt=0, le=1000, description="size of the optimizer's steps, at its highest"
    )
    schedule: Literal["constant", "linear", "cosine", "one_cycle"] = Field(
        "constant",
        description="how the learning rate falls to zero after the warm-up; one_cycle: from a 25th "
        "of learning_rate up to it and down to zero, along cosines (Smith and Topin 2018)",
    )
    start_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0,
        description="the share of the learning rate for the weights that come from "
        "model.start_from (Howard and Ruder 2018); 0 keeps them as they are",
    )
    warmup: Share | None = Field(
        None,
        description="the share of all steps in which the learning rate rises; default: 0, for "
        "one_cycle 0.3",
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="the weights lose this share times the learning rate in each step (Loshchilov "
        "and Hutter 2019); biases, peepholes and layer_norm do not",
    )
    average: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="evaluate and save an exponential moving average of the weights with this "
        "momentum, such as 0.999, instead of the last weights",
    )
    label_smoothing: Share = Field(
        0.0,
        description="the share of each target that is spread over all classes or tokens; the "
        "validation loss is without it",
    )
    sampled_softmax: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="for large vocabularies: in training, each target competes with this many "
        "drawn tokens instead of all; needs tie_embeddings",
    )
    adversarial: AdversarialSpec | None = Field(
        None,
        description="classifiers: also train on embedding vectors that are changed for the worst",
    )
    epochs: PositiveInt = Field(10, le=1_000_000, description="passes over the train split")
    patience: PositiveInt | None = Field(
        None,
        le=1_000_000,
        description="stop after this many epochs without a better validation loss",
    )
    clip_norm: float | None = Field(
        None, gt=0, le=1e9, description="maximum norm of the whole gradient"
    )
    truncate: Tokens | None = Field(
        None,
        description="number of steps that gradients flow back through; the state is carried on",
    )
    loop: Literal["fit", "custom"] = Field(
        "fit", description="Keras's training step, or Folio's hand-written one"
    )
    shuffle: bool | None = Field(
        None,
        description="a new order in each epoch; lanes keep theirs, but their rows begin at other "
        "tokens; default: true, unless the state is carried",
    )
    checkpoint_every: float = Field(
        60,
        gt=0,
        le=1e8,
        description="at most this many seconds of work are lost on a kill",
        json_schema_extra=OPERATIONAL,
    )
    backend: Literal["tensorflow", "jax"] = Field(
        "tensorflow", description="Keras's backend; jax must be installed"
    )
    devices: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        description="with backend jax: each batch is divided among so many GPUs or, without a GPU, "
        "parts of the CPU",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        2,
        description="threads that share each operation on a CPU, whatever number of cores the "
        "machine has: the last bits of the weights and the figures depend on it",
    )

    @field_validator("backend", mode="before")
    @classmethod
    def _tested(cls, value: object) -> object:
        if value == "torch":
            raise ValueError("torch is not tested with Folio's trainings; use tensorflow or jax")
        return value

    @model_validator(mode="after")
    def _possible(self) -> TrainingSpec:
        if self.devices > 1 and self.backend != "jax":
            raise ValueError(f"several devices need backend jax, not {self.backend}")
        if self.adversarial and self.backend != "tensorflow":
            raise ValueError(
                f"adversarial is written for tensorflow, not for {self.backend}; remove it"
            )
        if self.adversarial and self.loop != "custom":
            raise ValueError("adversarial is not in Keras's training step: set loop to custom")
        if self.loop == "custom" and self.backend != "tensorflow":
            raise ValueError(
                f"loop custom is written for tensorflow, not for {self.backend}; use fit"
            )
        if self.weight_decay * self.learning_rate >= 1:
            raise ValueError(
                f"weight_decay {self.weight_decay:g} times learning_rate {self.learning_rate:g} "
                "leaves nothing of the weights; reduce it below "
                f"{1 / self.learning_rate:g}"
            )
        return self
