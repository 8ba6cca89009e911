"""The typed declaration of a pipeline: what a YAML file in the catalog may contain.

Everything is frozen, unknown keys are rejected, and invalid combinations are reported before
anything runs. `pipelines/declaration/load.py` reads the files; this module only says what is valid.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from pipelines.declaration.data_sections import CorpusSpec, SourceSpec
from pipelines.declaration.evaluation_section import EvaluationSpec
from pipelines.declaration.label_checks import of_labels
from pipelines.declaration.model_sections import BatchesSpec, ModelSpec, RegistrySpec, TokensSpec
from pipelines.declaration.model_size import too_large
from pipelines.declaration.schedule_section import ScheduleSpec
from pipelines.declaration.section_base import OPERATIONAL, Section, Seed
from pipelines.declaration.slices import of_slices
from pipelines.declaration.training_section import TrainingSpec
from pipelines.declaration.tune_section import TunedKey, TuneSpec


class Spec(Section):
    """One pipeline. The command sets `name`, `profile` and `sample`; the rest comes from the
    file."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="the pipeline's name; without it, the file's name",
    )
    profile: str
    sample: bool = False
    code_folder: str = Field(
        "", json_schema_extra=OPERATIONAL
    )  # of the declaration, if it names code
    title: str = Field("", description="one line for lists and reports")
    seed: Seed = Field(1, description="of the split, the weights, the order and the drawn samples")
    source: SourceSpec
    corpus: CorpusSpec
    tokens: TokensSpec
    batches: BatchesSpec = BatchesSpec()
    model: ModelSpec
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    mix: Literal["nb-svm", "n-gram"] | None = Field(
        None,
        description="what the registered and served model is mixed with: nb-svm (classifiers), or "
        "n-gram of evaluation.baseline_order tokens (language models)",
    )
    registry: RegistrySpec
    schedule: ScheduleSpec | None = Field(None, description="none: it runs only on request")
    grids: dict[str, dict[str, tuple[Any, ...]]] = Field(
        {}, description="comparisons for `folio compare`: {name: {dotted key: values to try}}"
    )
    tune: dict[TunedKey, TuneSpec] = Field(
        {}, description="the search space of `folio tune`: {dotted key: a range or choices}"
    )

    @model_validator(mode="after")
    def _sections_agree(self) -> Spec:
        reader = self.corpus.reader
        self._require(
            reader == "tfds" or not self.source.tfds,
            f"corpus.reader {reader} cannot read source.tfds; use reader tfds, or set "
            "source.path to your own text",
        )
        self._require(
            reader != "tfds" or bool(self.source.tfds),
            "corpus.reader tfds reads source.tfds; for your own text with a document per "
            "line, set corpus.reader to lines and corpus.markup to null",
        )
        if self.model.kind == "classifier":
            self._require(
                self.corpus.labelled,
                "model.kind classifier needs labels: use "
                "corpus.reader labelled-folders, or csv, jsonl or parquet with corpus.label_column",
            )
            self._require(self.tokens.kind == "word", "a classifier reads words: set tokens.kind")
            self._require(
                self.batches.sequence_length is None and self.batches.layout == "text",
                "batches.sequence_length and layout are for language models; use tokens.max_tokens",
            )
            self._require(
                self.registry.of_classifiers,
                f"registry.metric {self.registry.metric} is not measured for classifiers",
            )
            self._require(
                self.training.truncate is None,
                "training.truncate would cut documents apart; use tokens.max_tokens",
            )
            self._require(
                not (self.tokens.begin or self.tokens.end),
                "tokens.begin and end are for language models",
            )
            self._require(
                self.evaluation.context is None, "evaluation.context is for language models"
            )
            problem = of_labels(self)
            self._require(problem is None, problem or "")
        else:
            self._language_model_agrees()
        fits = "nb-svm" if self.model.kind == "classifier" else "n-gram"
        self._require(
            self.mix in (None, fits),
            f"mix {self.mix} is not for a {self.model.kind.replace('_', ' ')}: use {fits}",
        )
        adversarial = self.training.adversarial
        self._require(
            not self.corpus.unlabelled or bool(adversarial and adversarial.kind == "virtual"),
            "corpus.unlabelled: only virtual adversarial training uses unlabelled documents; set "
            "training.adversarial.kind to virtual, or remove it",
        )
        problem = of_slices(self)
        self._require(problem is None, problem or "")
        self._sampled_softmax_agrees()
        self._builder_agrees()
        self._start_agrees()
        rows, devices = self.batches.batch_size, self.training.devices
        self._require(
            rows % devices == 0,
            f"batches.batch_size {rows} cannot be divided among training.devices {devices}",
        )
        problem = too_large(self.model, self.tokens, self.batches)
        self._require(problem is None, problem or "")
        return self

    def _sampled_softmax_agrees(self) -> None:
        candidates, size = self.training.sampled_softmax, self.tokens.max_size
        self._require(
            candidates is None or self.model.tie_embeddings,
            "training.sampled_softmax needs a language model with model.tie_embeddings",
        )
        self._require(
            not (candidates and self.training.label_smoothing),
            "training.label_smoothing spreads targets over all tokens, which "
            "training.sampled_softmax does not see; remove one of them",
        )
        self._require(
            not (candidates and size) or candidates < size,
            f"training.sampled_softmax {candidates} draws no fewer than tokens.max_size {size}; "
            "remove it",
        )

    def _builder_agrees(self) -> None:
        for name in ("adversarial", "sampled_softmax", "truncate"):
            self._require(
                not (self.model.builder and getattr(self.training, name)),
                f"training.{name} is for Folio's own networks; remove it, or model.builder",
            )

    def _start_agrees(self) -> None:
        start = self.model.start_from
        if start is None:
            self._require(
                self.training.start_rate == 1,
                "training.start_rate is for the weights from model.start_from; remove it",
            )
            return
        self._require(
            start.pipeline != self.name, f"model.start_from: {self.name} cannot start from itself"
        )
        for name in ("min_count", "max_size"):
            self._require(
                getattr(self.tokens, name) in (None, 1),
                f"tokens.{name}: with model.start_from, the vocabulary is that of "
                f"{start.pipeline}; remove it",
            )

    def _language_model_agrees(self) -> None:
        documents = self.batches.layout == "documents"
        self._require(
            documents == (self.batches.sequence_length is None),
            "a language model over documents has no batches.sequence_length"
            if documents
            else "a language model needs batches.sequence_length (tokens per row), or "
            "batches.layout documents",
        )
        self._require(
            documents or self.tokens.max_tokens is None,
            "tokens.max_tokens would cut the running text; remove it",
        )
        self._require(
            not self.registry.of_classifiers,
            f"registry.metric {self.registry.metric} is not measured for language models",
        )
        for key, unset in (
            ("evaluation.threshold", 0.5),
            ("training.adversarial", None),
            ("registry.class_floor", None),
        ):
            self._require(_lookup(self, key) == unset, f"{key} is for classifiers; remove it")
        self._require(
            not (self.batches.layout == "windows" and self.model.stateful),
            "model.stateful has no effect with batches.layout windows: windows are independent",
        )
        self._require(
            not (self.batches.layout == "windows" and self.evaluation.context),
            "evaluation.context: with batches.layout windows, text is generated from the "
            "batches.sequence_length tokens of a window; remove it",
        )
        self._require(
            self.training.truncate is None or documents,
            "training.truncate is for batches.layout documents; running text is already "
            "cut by batches.sequence_length",
        )

    @staticmethod
    def _require(holds: bool, message: str) -> None:
        if not holds:
            raise ValueError(message)

    def declares(self, key: str | None) -> bool:
        """Whether a dotted key, such as a stage's `when`, is set."""
        return key is None or _lookup(self, key) is not None

    def select(self, keys: tuple[str, ...]) -> dict[str, Any]:
        """The sections and values under dotted keys: a stage's part of the declaration."""
        found = {key: _lookup(self, key) for key in keys}
        return found | {"seed": self._seed_of(keys)} if "seed" in keys else found

    def _seed_of(self, keys: tuple[str, ...]) -> int:
        """That of the split, or of weights and order, or of all that is left."""
        own = None
        if "corpus" in keys:
            own = self.corpus.seed
        elif "batches" in keys or "training" in keys:
            own = self.training.seed
        return self.seed if own is None else own


def _lookup(section: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        section = getattr(section, part)
    return section


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """The result of `select`, as JSON data with one dotted key per value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, BaseModel):
            flat |= {f"{key}.{name}": v for name, v in value.model_dump(mode="json").items()}
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


@cache
def operational(model: type[BaseModel] = Spec, prefix: str = "") -> frozenset[str]:
    """The dotted keys that are in no artifact key."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        if field.json_schema_extra == OPERATIONAL:
            found.add(prefix + name)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= operational(field.annotation, f"{prefix}{name}.")
    return frozenset(found)
