"""The first half of a declaration: the text's source, and how it becomes documents."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, PositiveInt, model_validator

from pipelines.declaration.section_base import (
    MOST,
    OPERATIONAL,
    Delimiter,
    Encoding,
    Function,
    Labels,
    OneOrMany,
    Section,
    Seed,
)

TRAIN, VALIDATION, TEST, UNLABELLED = ALL_SPLITS = ("train", "validation", "test", "unlabelled")
SPLITS = ALL_SPLITS[:3]  # the last is only in pipelines with corpus.unlabelled
WITHIN_TRAIN = ("within-train", "within-labelled")  # texts for a language model, without labels
LEARNED_FROM = (TRAIN, VALIDATION, UNLABELLED)  # weights and vocabulary; the epoch; weights
CountOrShare = Annotated[int, Field(ge=0, le=MOST)] | Annotated[float, Field(ge=0, le=MOST)]
Characters = Annotated[PositiveInt, Field(le=MOST)]
TABLE_READERS = ("csv", "jsonl", "parquet")
LABELLED_READERS = ("labelled-folders", *TABLE_READERS)
FOLDER_LABELS = ("negative", "positive")  # of the folders neg and pos
CUT_READERS = ("text", "files", "paragraphs")  # for running text with a start and an end
TFDS_NAME = re.compile(r"\w+(/[\w.-]+)?(:[\d.*]+)?")


class SourceSpec(Section):
    """The source of the raw bytes: one of `url`, `path` (or `files`) and `tfds`."""

    url: OneOrMany = Field((), description="address, or several: http(s), s3, gs, sftp, …")
    path: str | None = Field(
        None,
        description="a local file or folder, or a pattern such as parts/*.csv, relative to the "
        "YAML file",
        validation_alias=AliasChoices("path", "files"),
        json_schema_extra=OPERATIONAL,
    )  # the key has its content instead
    tfds: str | None = Field(
        None, description="a TFDS builder: NAME, NAME/CONFIG or NAME/CONFIG:1.3.0"
    )
    tfds_splits: OneOrMany = Field(
        SPLITS,
        min_length=1,
        description="splits of the builder, including slices such as train[:1%]; corpus.split "
        "divides their records again",
    )
    tfds_feature: str = Field("text", description="the feature that contains the text")
    sha256: OneOrMany = Field(
        (),
        description="accepted digests; a file with another is rejected. Without digests, the "
        "origin is asked whether the file has changed",
    )
    max_bytes: PositiveInt = Field(
        4 * 2**30, le=10**13, json_schema_extra=OPERATIONAL, description="reject a larger download"
    )
    timeout_seconds: float = Field(
        30,
        gt=0,
        le=86_400,
        json_schema_extra=OPERATIONAL,
        description="silence after which an attempt is aborted",
    )
    min_bytes_per_second: float = Field(
        1000,
        ge=0,
        le=1e9,
        json_schema_extra=OPERATIONAL,
        description="averaged over twice timeout_seconds; a slower download is aborted, and its "
        "data kept",
    )
    sample: str | None = Field(
        None,
        description="used with --allow-sample if the source cannot be reached",
        json_schema_extra=OPERATIONAL,
    )

    @model_validator(mode="after")
    def _one_origin(self) -> SourceSpec:
        if sum(map(bool, (self.url, self.path, self.tfds))) != 1:
            raise ValueError("give one of url, path and tfds")
        if self.tfds and not TFDS_NAME.fullmatch(self.tfds):
            raise ValueError(f"tfds {self.tfds!r}: write NAME, NAME/CONFIG or NAME/CONFIG:1.3.0")
        if self.tfds and self.sha256:
            raise ValueError("sha256 is for files; pin a TFDS dataset by its version: NAME:1.3.0")
        return self


class CorpusSpec(Section):
    """How raw files become documents, and which document is in which split."""

    reader: Literal[
        "text",
        "files",
        "csv",
        "jsonl",
        "parquet",
        "labelled-folders",
        "lines",
        "paragraphs",
        "tfds",
    ] = Field(
        description="text: one long text; files: each file; csv, jsonl, parquet: rows; "
        "labelled-folders: the layout of aclImdb, or folders named as labels; lines: each line; "
        "paragraphs: text between blank lines; tfds: records"
    )
    split: Literal[
        "official", "within-train", "within-labelled", "hash", "shuffled", "contiguous"
    ] = Field(
        description="which document is in which split; within-train: only the official train part "
        "with unsup, without labels, divided by hash; within-labelled: the same without unsup"
    )
    seed: Seed | None = Field(
        None, json_schema_extra=OPERATIONAL, description="of the split; default: seed"
    )  # the key has `seed` instead
    validation: CountOrShare = Field(0.05, description="documents (>= 1) or share (< 1)")
    test: CountOrShare = Field(
        0.05, description="documents (>= 1) or share (< 1); ignored by the official split"
    )
    group: str | None = Field(
        None,
        description="documents of the same group stay in one split: `film` for aclImdb, a column "
        "name for csv, jsonl, parquet",
    )
    glob: str = Field(
        "**/*.txt",
        description="which files of a folder (readers files, lines and paragraphs; the last two "
        "read a single file whatever its name)",
    )
    encoding: Encoding | None = Field(
        None, description="of the files; found if it is UTF-8, or UTF-16 with a byte order mark"
    )
    delimiter: Delimiter | None = Field(
        None, description="csv: between the columns; found if it is a comma, ;, tab or |"
    )
    text_column: str = Field("text", description="csv, jsonl, parquet: the column with the text")
    label_column: str | None = Field(
        None, description="csv, jsonl, parquet: without it, the texts are unlabelled"
    )
    labels: Labels | None = Field(
        FOLDER_LABELS,
        description="the classes, in the order of their numbers, 0 first; csv, jsonl, parquet: "
        "without it, those that train has, sorted",
    )
    unlabelled: bool = Field(
        False, description="also read documents without a label, for virtual adversarial training"
    )
    start: str | None = Field(None, description="the text starts at this line (kept)")
    end: str | None = Field(None, description="the text ends before this line")
    length: tuple[Characters, Characters] | None = Field(
        None,
        description="minimum and maximum number of characters of a document; others are left out "
        "and counted",
    )
    duplicates: Literal["count", "drop"] = Field(
        "count",
        description="documents of train and validation that nearly repeat a test document; drop: "
        "quarantine them. Equal ones are always quarantined",
    )
    markup: Literal["wiki40b"] | None = Field(
        None, description="markup to interpret: wiki40b's `_START_ARTICLE_`, `_NEWLINE_`, …"
    )
    transform: Function | None = Field(
        None,
        description="your own function, mypackage.module:function, that is called with each "
        "document: it returns its text, the document with other values, or None to drop it",
    )
    max_quarantined: float = Field(
        0.02,
        ge=0,
        le=1,
        description="maximum share in quarantine; repeats count only among labelled documents: in "
        "a text they are natural, but are quarantined all the same",
    )

    @model_validator(mode="before")
    @classmethod
    def _found_in_tables(cls, data: Any) -> Any:
        """Labels that are left out: None for a table that has some."""
        if not isinstance(data, dict) or data.get("labels") is not None:
            return data
        table = data.get("reader") in TABLE_READERS and data.get("label_column") is not None
        return data | {"labels": None if table else FOLDER_LABELS}

    @property
    def labelled(self) -> bool:
        if self.reader == "labelled-folders":
            return self.split not in WITHIN_TRAIN
        return self.label_column is not None

    @model_validator(mode="after")
    def _reader_can(self) -> CorpusSpec:
        reader, split = self.reader, self.split
        for holds, message in (
            (
                split not in ("official", *WITHIN_TRAIN) or reader == "labelled-folders",
                f"split {split} needs reader labelled-folders, not {reader}",
            ),
            (
                split not in WITHIN_TRAIN or not self.group,
                f"split {split} has no groups; remove group",
            ),
            (
                not self.unlabelled or reader in LABELLED_READERS,
                f"reader {reader} has no labels; remove unlabelled",
            ),
            (
                split != "contiguous" or reader not in LABELLED_READERS,
                f"split contiguous is for running text, not for reader {reader}",
            ),
            (
                split == "contiguous" or reader != "text",
                f"reader text is one document: split {split} cannot divide it; use contiguous",
            ),
            (
                not (self.start or self.end) or reader in CUT_READERS,
                f"start and end cut running text; reader {reader} does not support them: "
                "remove them",
            ),
            (
                not self.group or reader in LABELLED_READERS,
                f"reader {reader} has no groups; remove group",
            ),
            (
                self.group in (None, "film") or reader != "labelled-folders",
                f"reader labelled-folders has the group film, not {self.group}",
            ),
            (
                not self.markup or reader == "tfds",
                f"reader tfds interprets markup, not {reader}; remove it",
            ),
            (
                not self.delimiter or reader == "csv",
                f"delimiter is for reader csv, not for {reader}; remove it",
            ),
            (
                not self.encoding or reader not in ("parquet", "tfds"),
                f"reader {reader} knows the encoding of its texts; remove encoding",
            ),
            (
                not self.length or (reader != "text" and split != "official"),
                "length would leave out the whole text"
                if reader == "text"
                else "length would remove documents from an official test split; remove it",
            ),
            (
                not self.length or self.length[0] <= self.length[1],
                f"length {list(self.length or ())}: the minimum comes first",
            ),
        ):
            if not holds:
                raise ValueError(message)
        return self
