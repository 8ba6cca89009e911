from __future__ import annotations

import csv
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus import shards as corpus_files
from pipelines.corpus import stage as corpus
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import composed
from pipelines.store.artifacts import Workspace
from tests.conftest import MIRROR, artifact_in, needs_mirror

COLUMNS = ["id", "split", "text", "label", "group"]
BOOK = {"reader": "csv", "text_column": "review", "label_column": "sentiment"}
TWO = ("negative", "positive")


class Built:
    """What a build of `files` wrote."""

    def __init__(
        self,
        folder: Path,
        files: dict[str, bytes | str],
        seed: int = 1,
        own: Path = Path(),
        **settings: Any,
    ) -> None:
        self.out, self.scratch, source = folder / "out", folder / "scratch", folder / "source"
        for path in (self.out, self.scratch, source):
            path.mkdir(parents=True)
        for name, data in (files | {"manifest.json": "{}"}).items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data.encode() if isinstance(data, str) else data)
        (self.scratch / "decided.arrow").write_bytes(b"left by a killed try")
        (self.scratch / "done").mkdir()
        (self.scratch / "done" / "csv-000000.json").write_bytes(b"left, too")
        self.progress: list[tuple[float, float | None, str]] = []
        work = Workspace(self.out, self.scratch, folder, self._note)
        self.counts = corpus.build(
            {"source": artifact_in(source)},
            {"corpus": CorpusSpec(**settings), "seed": seed, "code_folder": str(own)},
            work,
        )

    def _note(self, *step: Any) -> None:
        self.progress.append(step)

    @property
    def shards(self) -> list[Path]:
        return sorted((self.out / "documents").iterdir())

    @property
    def documents(self) -> pl.DataFrame:
        return pl.concat(pl.read_parquet(path) for path in self.shards)

    @property
    def quarantine(self) -> pl.DataFrame:
        return pl.read_parquet(self.out / "quarantine.parquet")

    def column(self, name: str, split: str) -> list:
        return self.documents.filter(pl.col("split") == split)[name].to_list()

    @property
    def bytes(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.out.rglob("*.parquet"))]


def table(rows: list[tuple[str, ...]], header: tuple[str, ...] = ("review", "sentiment")) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def reviews(count: int) -> list[tuple[str, str]]:
    return [(f"Review number {i}.", ("negative", "positive")[i % 2]) for i in range(count)]


def aclimdb() -> dict[str, str]:
    """A small aclImdb: 2 reviews a film, 40 a folder, the film lists last."""
    files: dict[str, str] = {"aclImdb/README": "about"}
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            for i in range(40):
                files[f"aclImdb/{part}/{label}/{i}_{3 if label == 'neg' else 8}.txt"] = (
                    f"{label} review {i} of {part}<br />its end"
                )
    files |= {f"aclImdb/train/unsup/{i}_0.txt": f"unlabelled {i}" for i in range(5)}
    files["aclImdb/train/pos/1_8.txt"] = files["aclImdb/train/pos/0_8.txt"] + "  \n"
    files["aclImdb/train/neg/9_3.txt"] = files["aclImdb/test/neg/9_3.txt"]
    files["aclImdb/test/pos/1_8.txt"] = files["aclImdb/test/pos/0_8.txt"]
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            lines = [f"http://x.org/title/tt{part == 'test':d}{i // 2:06d}/c" for i in range(40)]
            files[f"aclImdb/{part}/urls_{label}.txt"] = "\n".join(lines) + "\n"
    return files


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


OFFICIAL = {
    "reader": "labelled-folders",
    "split": "official",
    "validation": 16,
    "group": "film",
    "max_quarantined": 0.1,
}


@pytest.mark.parametrize(
    ("split", "folders", "ignored"),
    [("within-train", ("neg", "pos", "unsup"), 0), ("within-labelled", ("neg", "pos"), 5)],
)
def test_the_train_part_without_labels(
    tmp_path: Path, split: str, folders: tuple[str, ...], ignored: int
) -> None:
    settings = OFFICIAL | {"split": split, "group": None, "validation": 0.1, "test": 0.1}
    built = Built(tmp_path, {"aclImdb.tar.gz": packed(aclimdb())}, **settings)
    assert built.documents["label"].null_count() == len(built.documents)
    found = {name.rpartition("/")[0] for name in built.documents["id"]}
    assert found == {f"train/{folder}" for folder in folders}
    assert built.counts["ignored"].get("train/unsup (not labelled)", 0) == ignored


def test_official_split_of_labelled_folders(tmp_path: Path) -> None:
    built = Built(tmp_path, {"aclImdb.tar.gz": packed(aclimdb())}, **OFFICIAL)
    documents = built.documents
    assert documents.columns == COLUMNS
    assert documents.schema["label"] == pl.Float32
    assert built.counts == {
        "read": 160,
        "kept": 158,
        "quarantined": 2,
        "left_out": {},
        "cut": 0,
        "reasons": {"duplicate": 1, "duplicate-of-test": 1},
        "groups_in_two_splits": 0,
        "splits": {
            split: {
                "documents": len(part),
                "characters": sum(map(len, part["text"])),
                "positives": part["label"].sum(),
            }
            for split, part in (
                (s, documents.filter(pl.col("split") == s)) for s in ("train", "validation", "test")
            )
        },
        "ignored": {"other files": 1, "train/unsup (not labelled)": 5},
        "other_labels": {},
        "normal_form": "NFC",
        "near_duplicates": {"train": 0, "validation": 0},
    }
    assert built.quarantine.rows() == [
        ("train/neg/9_3", "duplicate-of-test", "neg review 9 of test\nits end"),
        ("train/pos/1_8", "duplicate", "pos review 0 of train\nits end  \n"),
    ]
    assert len(built.column("id", "validation")) == 16
    assert not set(built.column("group", "validation")) & set(built.column("group", "train"))
    # A film is in both folders: its reviews of either label go together.
    assert len(set(built.column("group", "validation"))) <= 6
    assert built.column("id", "test") == [
        name.removeprefix("aclImdb/").removesuffix(".txt")
        for name in aclimdb()
        if "/test/" in name and "urls" not in name
    ]
    row = documents.row(by_predicate=pl.col("id") == "test/pos/5_8", named=True)
    assert row == {
        "id": "test/pos/5_8",
        "split": "test",
        "label": 1.0,
        "group": "tt1000002",
        "text": "pos review 5 of test\nits end",
    }


def test_archive_and_folder_give_the_same(tmp_path: Path) -> None:
    files = dict(sorted(aclimdb().items()))
    archive = Built(tmp_path / "archive", {"aclImdb.tar.gz": packed(files)}, **OFFICIAL)
    folder = Built(tmp_path / "folder", files, **OFFICIAL)
    assert archive.bytes == folder.bytes
    assert archive.counts == folder.counts


def test_a_film_on_both_sides_of_an_official_split_is_counted(tmp_path: Path) -> None:
    files = aclimdb()
    for part in ("train", "test"):
        name = f"aclImdb/{part}/urls_pos.txt"
        files[name] = files[name].replace("tt1", "tt0")
    built = Built(tmp_path, {"a.tar.gz": packed(files)}, **OFFICIAL)
    assert built.counts["groups_in_two_splits"] == 20


def test_missing_film_list(tmp_path: Path) -> None:
    files = aclimdb()
    del files["aclImdb/train/urls_neg.txt"]
    with pytest.raises(FolioError, match=r"train/urls_neg\.txt"):
        Built(tmp_path, {"a.tar.gz": packed(files)}, **OFFICIAL)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    files = {"r.csv": table(reviews(90))}
    one, two, three = (
        Built(tmp_path / str(i), files, seed, split="shuffled", validation=10, test=20, **BOOK)
        for i, seed in enumerate((1, 1, 2))
    )
    assert one.bytes == two.bytes
    assert one.column("id", "test") != three.column("id", "test")
    assert one.column("id", "test") == sorted(
        one.column("id", "test"), key=lambda name: int(name.split(":")[1])
    )


def test_scratch_is_emptied_last_and_progress_told(tmp_path: Path) -> None:
    built = Built(
        tmp_path, {"r.csv": table(reviews(60))}, split="hash", validation=0.2, test=0.2, **BOOK
    )
    assert not list(built.scratch.iterdir())
    assert (60, None, "documents read") in built.progress
    assert [what for done, _, what in built.progress if done == 1] == [
        "parts of the source read",
        "parts of test sketched",
        "indices of test made",
        "parts compared with test",
        "shards written",
    ]


def test_shards_are_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_files, "SHARD_DOCUMENTS", 30)
    monkeypatch.setattr(corpus_files, "SHARD_CHARACTERS", 500)
    built = Built(
        tmp_path, {"r.csv": table(reviews(200))}, split="shuffled", validation=20, test=40, **BOOK
    )
    shards = {path.name: pl.read_parquet(path)["text"].to_list() for path in built.shards}
    train = [shards[f"train-{i:04d}.parquet"] for i in range(5)]
    assert all(len("".join(texts[:-1])) < 500 <= len("".join(texts)) for texts in train[:-1])
    assert 28 <= len(train[0]) <= 30
    assert built.counts["splits"]["train"]["documents"] == 140
    assert sorted(built.documents["id"].to_list()) == sorted(f"r.csv:{i + 1}" for i in range(200))


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(TEXT, st.sampled_from(["negative", "positive", "positive", "?", ""])), max_size=20
    )
)
def test_kept_and_quarantined_are_what_was_read(rows: list[tuple[str, str]]) -> None:
    rows = reviews(40) + rows
    with tempfile.TemporaryDirectory() as folder:
        built = Built(
            Path(folder),
            {"r.csv": table(rows)},
            split="shuffled",
            validation=5,
            test=5,
            max_quarantined=1,
            labels=TWO,
            **BOOK,
        )
        counts = built.counts
        assert counts["read"] == len(rows) == counts["kept"] + counts["quarantined"]
        ids = built.documents["id"].to_list() + built.quarantine["id"].to_list()
        assert sorted(ids) == sorted(f"r.csv:{i + 1}" for i in range(len(rows)))
        folded = [" ".join(text.split()) for text in built.documents["text"]]
        usable = {
            " ".join(composed(text).split())
            for text, label in rows
            if label in ("negative", "positive")
        } - {""}
        assert sorted(folded) == sorted(usable)
        assert counts["reasons"] == dict(built.quarantine["reason"].value_counts().rows())


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip),
    st.sampled_from([0.05, 0.3]),
)
def test_contiguous_parts_make_up_the_text(text: str, share: float) -> None:
    text = "It was a dark night. " + text
    with tempfile.TemporaryDirectory() as folder:
        built = Built(
            Path(folder),
            {"tale.txt": text},
            reader="text",
            split="contiguous",
            validation=share,
            test=share,
        )
        parts = ("train", "validation", "test")
        assert [built.column("id", part) for part in parts] == [
            [f"tale.txt#{part}"] for part in parts
        ]
        whole = "".join(built.column("text", part)[0] for part in parts)
        assert whole == composed(text.replace("\r\n", "\n").replace("\r", "\n"))
        assert built.counts["read"] == built.counts["kept"] == built.counts["cut"] == 1
        assert built.documents["label"].null_count() == 3


def test_contiguous_files_are_cut_where_the_splits_meet(tmp_path: Path) -> None:
    files = {f"{i}.txt": str(i) * 10 for i in range(10)} | {"9b.txt": "3" * 10}
    built = Built(
        tmp_path,
        files,
        reader="files",
        split="contiguous",
        validation=15,
        test=30,
        max_quarantined=0.1,
    )
    assert built.column("id", "train") == [*(f"{i}.txt" for i in range(5)), "5.txt#train"]
    assert built.column("text", "validation") == ["5" * 5, "6" * 10]
    assert built.column("id", "test") == ["7.txt", "8.txt", "9.txt"]
    assert built.quarantine.rows() == [("9b.txt", "duplicate", "3" * 10)]
    assert (built.counts["read"], built.counts["kept"], built.counts["cut"]) == (11, 10, 1)


def test_bad_files_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    files = {f"{i}.txt": f"text {i}" for i in range(100)}
    files |= {"empty.txt": "", "latin.txt": "caf\xe9 ".encode("latin-1") * 100}
    built = Built(tmp_path, files, reader="files", split="hash", validation=0.2, test=0.2)
    assert built.quarantine.rows() == [
        ("empty.txt", "empty", ""),
        ("latin.txt", "not-utf8", ("caf\ufffd " * 100)[:200]),
    ]


LINES = "".join(f"Line number {i}.\n" for i in range(60)) + "Ay.\n" * 9 + "x" * 50 + "\n"


@pytest.mark.parametrize("split", ["hash", "shuffled", "contiguous"])
def test_documents_of_other_lengths_are_left_out_and_counted(tmp_path: Path, split: str) -> None:
    built = Built(
        tmp_path,
        {"t.txt": LINES},
        reader="lines",
        split=split,
        validation=0.2,
        test=0.2,
        length=(4, 40),
    )
    counts = built.counts
    assert (counts["read"], counts["kept"], counts["quarantined"]) == (70, 60, 0)
    assert counts["left_out"] == {"too long": 1, "too short": 9}
    assert sorted(built.documents["id"].to_list()) == sorted(f"t.txt:{i + 1}" for i in range(60))
    if split == "contiguous":
        ids = [
            name for part in ("train", "validation", "test") for name in built.column("id", part)
        ]
        assert ids == [f"t.txt:{i + 1}" for i in range(60)]
        assert counts["cut"] == 0


def test_repeats_in_a_text_leave_it_but_are_no_failure(tmp_path: Path) -> None:
    built = Built(
        tmp_path, {"t.txt": LINES}, reader="lines", split="hash", validation=0.2, test=0.2
    )
    assert built.counts["reasons"] == {"duplicate": 8}  # more than max_quarantined would allow
    assert built.counts["read"] == built.counts["kept"] + 8 == 70


def test_all_left_out(tmp_path: Path) -> None:
    message = fails(tmp_path, {"t.txt": LINES}, reader="lines", split="hash", length=(60, 70))
    assert "all 70 documents are left out (too short 70); fix corpus.length" in message


def test_an_own_folder_of_text_files(tmp_path: Path) -> None:
    built = Built(
        tmp_path / "a",
        {"1.txt": "one two " * 40, "sub/2.txt": "three " * 40, "cover.jpg": b"\xff\xd8"},
        reader="files",
        split="contiguous",
        validation=0.1,
        test=0.2,
    )
    assert built.column("id", "train") == ["1.txt", "sub/2.txt#train"]
    assert built.counts["ignored"] == {"other files": 1}
    message = fails(tmp_path / "b", {"notes.md": "x"}, reader="files", split="contiguous")
    assert "'**/*.txt' matches none of the source's 1 files (such as notes.md)" in message


def fails(folder: Path, files: dict[str, bytes | str], **settings: Any) -> str:
    with pytest.raises(FolioError) as caught:
        Built(folder, files, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_too_many_set_aside(tmp_path: Path) -> None:
    files = {f"{i}.txt": f"text {i}" for i in range(9)} | {"a.txt": b"\xff", "b.txt": b"\xfe"}
    message = fails(tmp_path, files, reader="files", split="hash")
    assert "18.2% of 11 documents" in message and "max_quarantined 2.0%" in message
    assert "not-utf8 2" in message and "a.txt" in message


def test_too_many_repeats(tmp_path: Path) -> None:
    message = fails(tmp_path, {"r.csv": table(reviews(50) * 2)}, split="hash", **BOOK)
    assert "duplicate 50" in message and "r.csv:51" in message


def test_a_third_label(tmp_path: Path) -> None:
    rows = [*reviews(40), ("So so.", "neutral"), ("Hm.", "neutral"), ("Well.", "")]
    message = fails(tmp_path, {"r.csv": table(rows)}, split="hash", labels=TWO, **BOOK)
    assert "no-label 3" in message and "r.csv:41" in message
    assert "label 'neutral' is neither 'negative' nor 'positive'" in message


def test_one_third_label_among_many_is_kept_in_the_counts(tmp_path: Path) -> None:
    built = Built(
        tmp_path,
        {"r.csv": table([*reviews(90), ("So so.", "neutral")])},
        split="hash",
        labels=TWO,
        validation=0.2,
        test=0.2,
        **BOOK,
    )
    assert built.counts["other_labels"] == {"neutral": 1}
    assert built.quarantine.rows() == [("r.csv:91", "no-label", "So so.")]


def test_an_empty_text(tmp_path: Path) -> None:
    message = fails(tmp_path, {"t.txt": "\ufeff \r\n"}, reader="text", split="contiguous")
    assert "empty 1" in message and "t.txt" in message


def test_a_table_without_rows(tmp_path: Path) -> None:
    assert "no documents" in fails(tmp_path, {"r.csv": table([])}, split="hash", **BOOK)


def test_two_documents_of_one_name(tmp_path: Path) -> None:
    files = aclimdb()
    message = fails(tmp_path, {"a.tar.gz": packed(files), **files}, **OFFICIAL)
    assert "two documents named test/neg/0_3" in message


@needs_mirror
def test_shakespeare(tmp_path: Path) -> None:
    data = (MIRROR / "shakespeare.txt").read_bytes()
    built = Built(tmp_path, {"shakespeare.txt": data}, reader="text", split="contiguous")
    parts = [built.column("text", part)[0] for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1_003_854, 55_770, 55_770]
    assert "".join(parts).encode() == data


@needs_mirror
def test_the_mysterious_island(tmp_path: Path) -> None:
    data = (MIRROR / "1268-0.txt").read_bytes()
    built = Built(
        tmp_path,
        {"1268-0.txt": data},
        reader="text",
        split="contiguous",
        start="THE MYSTERIOUS ISLAND",
        end="End of the Project Gutenberg",
    )
    text = "".join(built.column("text", part)[0] for part in ("train", "validation", "test"))
    assert text.startswith("THE MYSTERIOUS ISLAND\n\nby Jules Verne")
    assert text.rstrip().endswith("the name of Captain Nemo.")
    assert "Gutenberg" not in text and len(text) == 1_112_267


@needs_mirror
def test_speeches(tmp_path: Path) -> None:
    data = (MIRROR / "shakespeare.txt").read_bytes()
    built = Built(
        tmp_path,
        {"shakespeare.txt": data},
        reader="paragraphs",
        split="hash",
        validation=0.1,
        test=0.1,
        length=(10, 80),
    )
    counts = built.counts
    assert (counts["read"], counts["kept"], counts["reasons"]) == (7222, 3433, {"duplicate": 46})
    assert counts["left_out"] == {"too long": 3682, "too short": 61}
    assert built.column("text", "train")[0] == (
        "First Citizen:\nBefore we proceed any further, hear me speak."
    )


@needs_mirror
def test_paragraphs_of_wikipedia(tmp_path: Path) -> None:
    data = (MIRROR / "jawiki_sample.txt").read_bytes()
    built = Built(
        tmp_path,
        {"jawiki_sample.txt": data},
        reader="lines",
        split="hash",
        validation=0.02,
        test=0.02,
    )
    assert built.counts["read"] == built.counts["kept"] == 2301
    rows = built.documents.sort(pl.col("id").str.split(":").list.last().cast(int))
    assert rows["text"].to_list() == data.decode().splitlines()


@pytest.mark.slow
@needs_mirror
@pytest.mark.long
def test_imdb(tmp_path: Path) -> None:
    data = (MIRROR / "aclImdb_v1.tar.gz").read_bytes()
    built = Built(
        tmp_path,
        {"aclImdb_v1.tar.gz": data},
        reader="labelled-folders",
        split="official",
        validation=5000,
        group="film",
    )
    counts = built.counts
    assert (counts["read"], counts["ignored"]["train/unsup (not labelled)"]) == (50_000, 50_000)
    assert counts["reasons"] == {"duplicate": 98, "duplicate-of-test": 123}
    assert abs(counts["splits"]["validation"]["documents"] - 5000) <= 5
    assert counts["splits"]["test"]["documents"] == 25_000
    films = {split: set(part["group"]) for (split,), part in built.documents.group_by("split")}
    assert not films["train"] & films["validation"]
    assert counts["near_duplicates"] == {"train": 3, "validation": 0}
    assert counts["groups_in_two_splits"] == 1  # tt0406816 is in the official train and test


def test_what_frames_hold_is_counted_and_doubts_are_one_notice(tmp_path: Path) -> None:
    start, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK A ***\n" for word in ("START", "END"))
    texts = [f"Text {number}.\n{'A line of its own.' * 100}\n" for number in range(8)]
    books = {f"b{number}.txt": f"{text}\n{end}\n{text[::-1]}" for number, text in enumerate(texts)}
    books["c.txt"] = f"Header\n{start}\nOne.\n\n{end}licence\n{start}\nTwo.\n\n{end}licence\n"
    split = {"split": "contiguous", "validation": 0.2, "test": 0.2}
    built = Built(tmp_path, books, reader="files", **split)
    whole = "".join(pl.Series(built.documents.sort("id")["text"]).to_list())
    assert "One.\n\nTwo.\n" in whole and all(text in whole for text in texts[:3])
    cut = len(books["c.txt"]) - len("One.\n\nTwo.\n")
    assert built.counts["ignored"]["characters of licence frames"] == cut
    (notice,) = built.counts["notices"]
    assert "b0.txt:4 '*** END OF" in notice and "b4.txt" in notice and "and 3 more" in notice


def test_texts_are_composed_and_counted(tmp_path: Path) -> None:
    lines = [f"cafe\u0301 {number}" for number in range(10)] + [f"plain {n}" for n in range(10)]
    split = {"reader": "lines", "split": "hash", "validation": 0.2, "test": 0.2}
    built = Built(tmp_path, {"a.txt": "\n".join(lines)}, **split)
    texts = built.documents["text"].to_list()
    assert sorted(texts) == sorted(line.replace("e\u0301", "\u00e9") for line in lines)
    assert built.counts["composed"] == 10


def test_a_label_that_train_lacks_is_named(tmp_path: Path) -> None:
    rows = "".join(f"text {number},ham\n" for number in range(40))
    columns = {"reader": "csv", "split": "hash", "label_column": "kind", "labels": ("ham", "spam")}
    with pytest.raises(FolioError, match=r"has the label 'spam' .* have 'ham'; fix corpus\.labels"):
        Built(tmp_path, {"a.csv": f"text,kind\n{rows}"}, **columns, validation=0.2, test=0.2)
