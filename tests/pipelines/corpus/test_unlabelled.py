"""Documents without a label: a split of their own, in which nothing repeats held-out text."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import polars as pl
import pytest

from pipelines.audit.leaks import leaks
from pipelines.errors import FolioError, UsageError
from pipelines.stages import STAGES
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, REVIEWS, artifact_of, retrained, spec_of
from tests.pipelines.corpus.test_stage import BOOK, OFFICIAL, TWO, Built, aclimdb, packed, table

NEAR = "near-duplicate-of-held-out"


def words(seed: int, count: int = 60) -> str:
    return " ".join(f"w{random.Random(seed * 100 + i).randrange(10**6)}" for i in range(count))


def changed(text: str) -> str:
    """The same but for its last word."""
    return text.rpartition(" ")[0] + " otherwise"


def archive() -> dict[str, str]:
    """aclImdb with long reviews, and unsup with repeats of each part."""
    files = {
        name: words(number) if name.endswith(".txt") and "urls" not in name else text
        for number, (name, text) in enumerate(aclimdb().items())
    }
    train, test = (files[f"aclImdb/{part}/pos/7_8.txt"] for part in ("train", "test"))
    unsup = {0: words(990), 1: train, 2: changed(train), 3: test, 4: changed(test), 5: words(990)}
    files |= {f"aclImdb/train/unsup/{i}_0.txt": text for i, text in unsup.items()}
    return files | {"aclImdb/test/unsup/0_0.txt": words(991)}


def test_unsup_is_a_split_that_repeats_neither_train_nor_what_is_held_out(tmp_path: Path) -> None:
    files = archive()
    plain = Built(tmp_path / "plain", {"aclImdb.tar.gz": packed(files)}, **OFFICIAL)
    held_out = plain.column("id", "validation")
    for i, name in enumerate(held_out):  # nearly each of validation
        files[f"aclImdb/train/unsup/{10 + i}_0.txt"] = changed(files[f"aclImdb/{name}.txt"])
    built = Built(tmp_path / "more", {"aclImdb.tar.gz": packed(files)}, **OFFICIAL, unlabelled=True)
    for split in ("train", "validation", "test"):
        ours, wanted = (one.documents.filter(pl.col("split") == split) for one in (built, plain))
        assert ours.equals(wanted), split
    near = [f"train/unsup/{i}_0" for i in (4, *range(10, 10 + len(held_out)))]
    aside = {row["id"]: row["reason"] for row in built.quarantine.iter_rows(named=True)}
    assert aside == {
        **{row["id"]: row["reason"] for row in plain.quarantine.iter_rows(named=True)},
        "train/unsup/1_0": "duplicate",
        "train/unsup/3_0": "duplicate-of-test",
        "train/unsup/5_0": "duplicate",
        **dict.fromkeys(near, NEAR),
    }
    # 2 nearly equals a review of train, which is no leak, unless that is in validation.
    kept = built.column("id", "unlabelled")
    assert kept == ["train/unsup/0_0", "train/unsup/2_0"]
    assert built.column("label", "unlabelled") == built.column("group", "unlabelled") == [None] * 2
    counts = built.counts
    assert counts["splits"]["unlabelled"]["documents"] == 2
    assert counts["splits"]["unlabelled"]["positives"] == 0
    assert counts["ignored"]["test/unsup (not labelled)"] == 1  # of the test part
    assert counts["read"] == counts["kept"] + counts["quarantined"]
    assert "unlabelled" not in plain.counts["splits"]


@pytest.mark.parametrize("split", ["hash", "shuffled"])
def test_rows_without_a_label_are_unlabelled(tmp_path: Path, split: str) -> None:
    labelled = [(words(i), ("negative", "positive")[i % 2]) for i in range(60)]
    settings = BOOK | {"split": split, "validation": 0.2, "test": 0.2}
    plain = Built(tmp_path / "plain", {"a.csv": table(labelled)}, **settings)
    more = [(text, "") for text, _ in labelled] + [(changed(text), " ") for text, _ in labelled]
    more += [(words(500 + i), "") for i in range(7)]
    built = Built(tmp_path / "more", {"a.csv": table(labelled + more)}, **settings, unlabelled=True)
    for name in ("train", "validation", "test"):
        assert built.column("id", name) == plain.column("id", name)
    train = sorted(int(name.partition(":")[2]) for name in plain.column("id", "train"))
    numbers = [int(name.partition(":")[2]) for name in built.column("id", "unlabelled")]
    assert numbers == [60 + 60 + i for i in train] + list(range(181, 188))
    held_out = 60 - len(train)
    assert built.counts["reasons"] == {
        "duplicate": 60 - len(plain.column("id", "test")),
        "duplicate-of-test": len(plain.column("id", "test")),
        NEAR: held_out,
    }


def test_where_there_is_nothing_unlabelled(tmp_path: Path) -> None:
    labelled = [(words(i), ("negative", "positive")[i % 2]) for i in range(20)]
    settings = BOOK | {"split": "hash", "validation": 0.2, "test": 0.2, "unlabelled": True}
    with pytest.raises(FolioError, match="has no documents without a label; set it to false"):
        Built(tmp_path / "none", {"a.csv": table(labelled)}, **settings)
    repeats = [(text, "") for text, _ in labelled]
    with pytest.raises(FolioError, match="all documents without a label repeat others"):
        Built(tmp_path / "repeats", {"a.csv": table(labelled + repeats)}, **settings)
    with pytest.raises(FolioError, match="no-label"):  # a third label is still wrong
        third = {"a.csv": table([*labelled, ("so so", "mixed")])}
        Built(tmp_path / "third", third, **settings, labels=TWO)


def test_unlabelled_text_that_nothing_reads_is_refused(declare) -> None:
    reviews, more = str(declare("reviews", REVIEWS)), "corpus.unlabelled=true"
    virtual = ("training.adversarial={kind: virtual}", "training.loop=custom")
    assert spec_of(reviews, more, *virtual).corpus.unlabelled
    supervised = ("training.adversarial={kind: adversarial}", "training.loop=custom")
    for given, message in [
        ((more,), "only virtual adversarial training uses unlabelled documents"),
        ((more, *supervised), "set training.adversarial.kind to virtual"),
        ((more, *virtual, "corpus.reader=lines"), "reader lines has no labels"),
        ((more, *virtual, "corpus.label_column=null"), "classifier needs labels"),
        (
            (more, *virtual, "corpus.reader=labelled-folders", "corpus.split=within-train"),
            "classifier needs labels",
        ),
    ]:
        with pytest.raises(UsageError, match=message) as error:
            spec_of(reviews, *given)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="only virtual adversarial training"):
        spec_of(Path("imdb-lm"), more)


HALF = REVIEWS.replace("{samples}/reviews.csv", "half.csv").replace(
    "label_column: sentiment", "label_column: sentiment, unlabelled: true"
)
VIRTUAL = "training: {{loop: custom, adversarial: {{kind: virtual}}, "


@pytest.mark.long
def test_unlabelled_text_comes_from_the_source_into_the_training(
    tmp_path: Path, empty_registry: Path, declare
) -> None:
    with (PROJECT / "data" / "samples" / "reviews.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    label = header.index("sentiment")
    for row in rows[::2]:
        row[label] = ""
    (tmp_path / "half.csv").write_text(table(rows, tuple(header)), encoding="utf-8")
    pipeline = declare("half", HALF.replace("training: {{", VIRTUAL))
    retrained(empty_registry, pipeline)(tmp_path / "home")
    settings = Settings.at(tmp_path / "home")
    names = [stage.name for stage in STAGES if not stage.when]
    found = {name: artifact_of(settings, "half", name) for name in names}
    for stage in ("tokens", "batches"):
        documents = found[stage].counts["unlabelled"]["documents"]
        assert documents == found["corpus"].counts["splits"]["unlabelled"]["documents"] > 150
    history = found["model"].table("history.parquet", ["loss", "validation_loss"]).to_pylist()
    assert history[-1]["loss"] < history[0]["loss"] and len(history) == 2
    assert not list(leaks(found))
    page = (found["report"].path / "report.html").read_text(encoding="utf-8")
    assert '<th scope="row">unlabelled</th>' in page
