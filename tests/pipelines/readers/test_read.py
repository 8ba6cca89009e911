from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import made
from pipelines.readers import cleaning
from pipelines.readers.cleaning import composed, decoded, text_digest, without_tags
from pipelines.readers.documents import Document, Notes
from pipelines.readers.labelled_folders import film_of
from pipelines.readers.read import read
from tests.conftest import artifact_in

START = "*** START OF THIS PROJECT GUTENBERG EBOOK A TALE ***"
END = "*** END OF THIS PROJECT GUTENBERG EBOOK A TALE ***"


def documents(root: Path, **settings: Any) -> tuple[list[Document], Notes]:
    notes = Notes()
    return list(read(artifact_in(root), CorpusSpec(**settings), notes)), notes


def lay(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


@pytest.mark.parametrize("above", ["", "news/", "data/train/"])
def test_folders_named_as_the_labels(tmp_path: Path, above: str) -> None:
    labels = ("sport", "caf\u00e9", "tax")
    files = {f"{above}{label}/{n}.txt": f"{label} {n}" for label in labels for n in range(2)}
    files |= {f"{above}cafe\u0301/3.txt": "x", f"{above}other/1.txt": "x", "README": "x"}
    lay(tmp_path, {**files, ".DS_Store": "x"})
    found, notes = documents(tmp_path, reader="labelled-folders", split="hash", labels=labels)
    by_name = {document.id: document for document in found}
    assert by_name[f"{above}tax/1.txt"][:3] == (f"{above}tax/1.txt", "tax 1", 2.0)
    assert by_name[f"{above}cafe\u0301/3.txt"].label == 1.0 and len(found) == 7
    assert {document.part for document in found} == {"train" if "train" in above else None}
    assert notes.ignored.total() == 3
    with pytest.raises(FolioError, match=r"nor texts in folders named as corpus\.labels"):
        documents(tmp_path, reader="labelled-folders", split="hash", labels=("a", "b"))


def test_encodings_and_line_ends() -> None:
    assert decoded(b"\xef\xbb\xbfa\r\nb\rc\n") == "a\nb\nc\n"
    assert decoded("naïve".encode("latin-1")) is None
    assert without_tags("a<br />b<br/>c<BR>d < e <b>f</b>") == "a\nb\nc\nd < e <b>f</b>"


def test_letters_are_composed_and_names_keep_their_ideographs() -> None:
    typed = "cafe\u0301 \u304b\u3099 \u0958 \u1100\u1161"
    assert composed(typed) == "caf\u00e9 \u304c \u0915\u093c \uac00"
    assert composed("\ufa19\u793e e\u0301\ufa2a") == "\ufa19\u793e \u00e9\ufa2a"
    assert composed("q\u0301") == "q\u0301"


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-8", "utf-16"])
@pytest.mark.parametrize("reader", ["text", "files", "lines", "paragraphs"])
def test_texts_in_a_declared_encoding(tmp_path: Path, encoding: str, reader: str) -> None:
    lay(tmp_path, {"a.txt": "表示\r\nソ".encode(encoding)})
    split = "contiguous" if reader == "text" else "hash"
    found, _ = documents(tmp_path, reader=reader, split=split, encoding=encoding)
    assert "\n".join(document.text for document in found) == "表示\nソ"
    lay(tmp_path, {"a.txt": b"\xff\xff\xff"})
    if encoding != "utf-16" or reader in ("text", "files"):
        found, _ = documents(tmp_path, reader=reader, split=split, encoding=encoding)
        assert [document.reason for document in found] == [f"not-{encoding}"]
        assert "\ufffd" in found[0].text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("reader", ["text", "files", "lines", "paragraphs"])
def test_texts_with_a_byte_order_mark(tmp_path: Path, encoding: str, reader: str) -> None:
    lay(tmp_path, {"a.txt": "naïve\r\nText".encode(encoding)})
    split = "contiguous" if reader == "text" else "hash"
    found, _ = documents(tmp_path, reader=reader, split=split)
    assert "\n".join(document.text for document in found) == "naïve\nText"
    if encoding == "utf-16":
        lay(tmp_path, {"a.txt": "naïve".encode(encoding) + b"x"})
        if reader in ("text", "files"):
            assert documents(tmp_path, reader=reader, split=split)[0][0].reason == "not-utf8"
        else:
            with pytest.raises(FolioError, match=r"a\.txt: not valid UTF-16 .*save it as UTF-8"):
                documents(tmp_path, reader=reader, split=split)


@given(st.lists(st.text(), max_size=6), st.sampled_from([1, 2, 5]))
def test_digest_folds_white_space_at_every_window(words: list[str], window: int) -> None:
    text = "  \n".join(words)
    whole = text_digest(" ".join(text.split()))
    before, cleaning.WINDOW = cleaning.WINDOW, window
    try:
        assert text_digest(text) == text_digest(f"\t{text}\n") == whole
        assert text_digest(text + " x") != whole
    finally:
        cleaning.WINDOW = before


def test_one_text(tmp_path: Path) -> None:
    lay(tmp_path, {"tale.txt": "\ufeffOnce\r\nmore", "manifest.json": "{}"})
    assert documents(tmp_path, reader="text", split="contiguous")[0] == [
        Document("tale.txt", "Once\nmore")
    ]
    lay(tmp_path, {"second.txt": "x"})
    with pytest.raises(FolioError, match=r"2 \(second.txt, tale.txt.*use reader files"):
        documents(tmp_path, reader="text", split="contiguous")


def test_files(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "b.txt": "b",
            "a/z.txt": "z",
            "a/c.txt": b"\xff\xfe",
            "d.txt": " \n",
            "notes.md": "x",
            "manifest.json": "{}",
        },
    )
    found, notes = documents(tmp_path, reader="files", split="hash")
    assert [(d.id, d.reason) for d in found] == [
        ("a/c.txt", "not-utf8"),
        ("a/z.txt", None),
        ("b.txt", None),
        ("d.txt", "empty"),
    ]
    assert notes.ignored == {"other files": 1}
    with pytest.raises(FolioError, match=r"'\*\.rst' matches none of the source's 5 files"):
        documents(tmp_path, reader="files", split="hash", glob="*.rst")
    with pytest.raises(UsageError, match="within the source's folder"):
        documents(tmp_path, reader="files", split="hash", glob="../*")


def test_an_empty_source(tmp_path: Path) -> None:
    lay(tmp_path, {"manifest.json": "{}"})
    with pytest.raises(FolioError, match="contains no files"):
        documents(tmp_path, reader="text", split="contiguous")


FOLDERS = {
    "home/train/pos/0_9.txt": "Good<br /><br />film",
    "home/train/pos/1_10.txt": "Fine",
    "home/train/neg/0_2.txt": "Bad",
    "home/test/neg/0_1.txt": "Awful",
    "home/README": "read me",
    "home/train/unsup/0_0.txt": "who knows",
    "home/train/urls_pos.txt": "http://x.org/title/tt0000007/comments\nhttp://x.org/title/tt0000009/comments\n",
}


def test_labelled_folders(tmp_path: Path) -> None:
    lay(tmp_path, FOLDERS)
    found, notes = documents(tmp_path, reader="labelled-folders", split="official")
    assert found == [
        Document("test/neg/0_1", "Awful", 0.0, None, "test"),
        Document("train/neg/0_2", "Bad", 0.0, None, "train"),
        Document("train/pos/0_9", "Good\n\nfilm", 1.0, None, "train"),
        Document("train/pos/1_10", "Fine", 1.0, None, "train"),
    ]
    assert notes.ignored == {"other files": 1, "train/unsup (not labelled)": 1}
    assert film_of("train/pos/1_10", notes.films) == "tt0000009"
    with pytest.raises(FolioError, match=r"line 3 of train/urls_pos\.txt, which has 2"):
        film_of("train/pos/2_9", notes.films)
    with pytest.raises(FolioError, match=r"line 1 of train/urls_neg\.txt, which has 0"):
        film_of("train/neg/0_2", notes.films)
    with pytest.raises(FolioError, match=r"train/pos/great\.txt.*names like 12_9\.txt"):
        film_of("train/pos/great", notes.films)


def test_two_corpora_or_none(tmp_path: Path) -> None:
    lay(tmp_path, FOLDERS | {"other/train/pos/0_9.txt": "x"})
    with pytest.raises(FolioError, match="two corpora"):
        documents(tmp_path, reader="labelled-folders", split="official")
    lay(tmp_path / "none", {"a.txt": "x", "b.txt": "y"})
    with pytest.raises(FolioError, match=r"a\.txt: contains no train/pos"):
        documents(tmp_path / "none", reader="labelled-folders", split="official")


def table(root: Path, text: str | bytes, **settings: Any) -> tuple[list[Document], Notes]:
    lay(root, {"reviews.csv": text})
    return documents(
        root,
        **{"reader": "csv", "split": "hash", "text_column": "review", "label_column": "sentiment"}
        | {"labels": ("negative", "positive")}
        | settings,
    )


def test_csv(tmp_path: Path) -> None:
    found, notes = table(
        tmp_path,
        "\ufefffilm,review,sentiment\r\n"
        'a,"Good,<br />""great""\r\nfilm",positive\r\n\r\nb,Bad,negative\r\n'
        ",,positive\r\nc,So so,neutral\r\nd,Short row\r\n",
        group="film",
    )
    assert found == [
        Document("reviews.csv:1", 'Good,\n"great"\nfilm', 1.0, "a"),
        Document("reviews.csv:2", "Bad", 0.0, "b"),
        Document("reviews.csv:3", "", 1.0, None, None, "empty"),
        Document("reviews.csv:4", "So so", None, "c", None, "no-label"),
        Document("reviews.csv:5", "Short row", None, "d", None, "no-label"),
    ]
    assert notes.other_labels == {"neutral": 1}
    assert notes.ignored == {"other files": 0, "blank lines": 1}


def test_csv_without_labels_and_with_numbers_for_labels(tmp_path: Path) -> None:
    text = "review,sentiment\nBad,0\nGood,1\n"
    assert [d.label for d in table(tmp_path, text, labels=("0", "1"))[0]] == [0.0, 1.0]
    assert [d.label for d in table(tmp_path, text, label_column=None)[0]] == [None, None]


def test_csv_row_that_is_not_utf8(tmp_path: Path) -> None:
    found, _ = table(tmp_path, b"review,sentiment\ncaf\xe9,positive\nok,negative\n")
    assert found[0] == Document("reviews.csv:1", "caf\ufffd", None, None, None, "not-utf8")
    assert found[1] == Document("reviews.csv:2", "ok", 0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "revue,sentiment\nx,positive\n",
            r"reviews\.csv: no column 'review' \(corpus\.text_column\) among revue, sentiment; "
            r"did you mean revue\?",
        ),
        ("review\nx\n", r"no column 'sentiment' \(corpus\.label_column\)"),
        ("review,review,sentiment\nx,y,positive\n", "two columns 'review'"),
        ("", "empty"),
        (
            'review,sentiment\na,positive\n"b,positive\nc,negative\n',
            "row at line 3 is not valid CSV",
        ),
        ("review,sentiment\na, b,positive\n", "row at line 2 has 3 fields, the first row 2"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FolioError, match=message) as caught:
        table(tmp_path, text)
    assert "\n" not in str(caught.value)


JUNK = (
    "._a.txt",
    ".DS_Store",
    "__MACOSX/._a.txt",
    "x/.ipynb_checkpoints/a-checkpoint.txt",
    "x/._b",
)
JUNK_COUNT = {"files of the system (such as .DS_Store)": len(JUNK)}


@pytest.mark.parametrize("reader", ["text", "files", "lines", "paragraphs", "csv"])
def test_files_of_the_system_are_no_documents(tmp_path: Path, reader: str) -> None:
    lay(
        tmp_path, dict.fromkeys(JUNK, b"\x00\x05\x16\x07") | {"a.txt": "text\nOnce", "m.json": "{}"}
    )
    (tmp_path / "m.json").unlink()
    found, notes = documents(
        tmp_path, reader=reader, split="contiguous" if reader == "text" else "hash"
    )
    assert found and all(document.reason is None for document in found)
    assert +notes.ignored == JUNK_COUNT


def test_files_of_the_system_beside_reviews(tmp_path: Path) -> None:
    junk = {"train/pos/._1_9.txt": "x", "__MACOSX/train/pos/1_9.txt": "x", ".DS_Store": "x"}
    lay(tmp_path / "plain", {"train/pos/1_9.txt": "good", "test/neg/1_1.txt": "bad"} | junk)
    with tarfile.open(made(tmp_path / "packed") / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "plain", arcname=".")
    for folder in ("plain", "packed"):
        found, notes = documents(tmp_path / folder, reader="labelled-folders", split="official")
        assert sorted(d.id for d in found) == ["test/neg/1_1", "train/pos/1_9"]
        assert sum(notes.ignored.values()) == 3


def test_only_files_of_the_system(tmp_path: Path) -> None:
    lay(tmp_path, dict.fromkeys(JUNK, b"\x00"))
    with pytest.raises(FolioError, match="only files that systems add"):
        documents(tmp_path, reader="files", split="hash")


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("**/*.txt", {"ONE.TXT", "a/Two.Txt", "three.txt"}),
        ("*.TXT", {"ONE.TXT", "three.txt"}),
        ("[s-t]*.txt", {"three.txt"}),
        ("[!s-t]*.txt", {"ONE.TXT"}),
        ("?NE.*", {"ONE.TXT"}),
        ("A/*", {"a/Two.Txt"}),
    ],
)
def test_a_glob_finds_names_in_any_case(tmp_path: Path, glob: str, names: set[str]) -> None:
    lay(tmp_path, {"ONE.TXT": "1", "a/Two.Txt": "2", "three.txt": "3", "README.md": "4"})
    assert {d.id for d in documents(tmp_path, reader="files", split="hash", glob=glob)[0]} == names
