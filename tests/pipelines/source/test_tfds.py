"""The tfds source on datasets that tensorflow-datasets itself prepares here, and their corpus."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.corpus import stage as corpus
from pipelines.declaration.spec import CorpusSpec, SourceSpec
from pipelines.errors import FolioError, UnreachableError
from pipelines.readers.documents import Notes
from pipelines.readers.read import READERS, documents_of
from pipelines.source import stage as sources
from pipelines.source import text_shards
from pipelines.source.tfds_library import load_tfds
from pipelines.store.artifacts import Workspace
from tests.conftest import PROJECT, artifact_in

pytestmark = pytest.mark.slow  # imports TensorFlow

NAME = "folio_articles"  # tfds' own name for the class below
TITLES = ["水車", "灯台", "切手", "縁側", "風鈴", "石橋", "湧き水", "渡し船"]
SENTENCES = [
    "むかしから人の暮らしのそばにあった。",
    "いまでは目にすることが少なくなった。",
    "形は土地によって少しずつ違う。",
    "夏の終わりに手入れをする。",
]


def article(number: int) -> str:
    title = TITLES[number % len(TITLES)]
    first, second, third = (
        f"{title}の話、その{number}の{i}。{SENTENCES[(number + i) % 4]}" for i in range(3)
    )
    return (
        f"\n_START_ARTICLE_\n{title}\n_START_PARAGRAPH_\n{first}_NEWLINE_{second}\n"
        f"_START_SECTION_\n由来\n_START_PARAGRAPH_\n{third}_NEWLINE_"
    )


@pytest.fixture(scope="session")
def builders() -> SimpleNamespace:
    """One builder that tfds finds by its name, and one that prepares data for the real wiki40b."""
    tfds = load_tfds()

    class _Articles(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.3.0")

        def _info(self) -> Any:
            texts = {name: tfds.features.Text() for name in ("wikidata_id", "text", "version_id")}
            features = tfds.features.FeaturesDict(texts | {"size": tfds.features.Scalar(np.int64)})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager: Any) -> dict[str, Any]:
            return {
                split: self._generate_examples(numbers)
                for split, numbers in (
                    ("train", range(20)),
                    ("validation", range(20, 24)),
                    ("test", range(24, 29)),
                )
            }

        def _generate_examples(self, numbers: range) -> Iterator[tuple[int, dict[str, Any]]]:
            for number in numbers:
                yield (
                    number,
                    {
                        "wikidata_id": f"Q{number}",
                        "text": article(number),
                        "version_id": "1",
                        "size": number,
                    },
                )

    class FolioArticles(_Articles):
        BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=name) for name in ("ja", "de")]

    class Wiki40b(_Articles, skip_registration=True):
        name = "wiki40b"
        BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name="ja", version="1.3.0")]

    return SimpleNamespace(own=FolioArticles, wiki40b=Wiki40b)


@pytest.fixture(scope="session")
def prepared(
    builders: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """`prepared(format)`: a data_dir with wiki40b/ja/1.3.0 in it. Read only."""
    made: dict[str, Path] = {}

    def prepare(file_format: str) -> Path:
        if file_format not in made:
            made[file_format] = tmp_path_factory.mktemp(file_format)
            builder = builders.wiki40b(config="ja", data_dir=made[file_format])
            builder.download_and_prepare(file_format=file_format)
        return made[file_format]

    return prepare


class Built:
    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        data_dir: Path,
        mirror: str | None = None,
        offline: bool = False,
        **source: Any,
    ) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
        self.out, scratch = folder / "out", folder / "scratch"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        scratch.mkdir(exist_ok=True)
        self.told: list[tuple[float, float | None, str]] = []
        work = Workspace(
            self.out, scratch, folder, lambda *step: self.told.append(step), mirror, offline
        )
        spec = SourceSpec(**{"tfds": "wiki40b/ja"} | source)
        self.counts = json.loads(json.dumps(sources.build({}, {"source": spec}, work)))

    @property
    def origin(self) -> dict[str, Any]:
        return self.counts["origins"]["wiki40b/ja/1.3.0"]

    @property
    def rows(self) -> dict[str, list[tuple[int, str]]]:
        """{file: [(record, text)]}."""
        return {
            path.name: [
                (row["record"], row["text"].decode()) for row in pq.read_table(path).to_pylist()
            ]
            for path in sorted((self.out / "tfds").iterdir())
        }

    @property
    def bytes(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.out.rglob("*.parquet"))]


Run = Callable[..., Built]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return partial(Built, tmp_path, monkeypatch)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_the_splits_records_as_parquet(
    prepared: Callable[[str], Path], run: Run, file_format: str
) -> None:
    built = run(prepared(file_format), tfds_splits=("train", "test"))
    rows = built.rows
    assert list(rows) == ["test-0000.parquet", "train-0000.parquet"]
    assert [number for number, _ in rows["train-0000.parquet"]] == list(range(20))
    assert {text for _, text in rows["train-0000.parquet"]} == {article(i) for i in range(20)}
    assert {text for _, text in rows["test-0000.parquet"]} == {article(i) for i in range(24, 29)}
    assert built.origin == {
        "from": "prepared here",
        "address": str(prepared(file_format) / "wiki40b/ja/1.3.0"),
        "version": "1.3.0",
        "feature": "text",
        "records": {"train": 20, "test": 5},
    }
    assert built.counts["files"] == 2
    assert built.told[-1] == (25, 25, "records of wiki40b/ja/1.3.0")
    metadata = pq.read_schema(built.out / "tfds" / "test-0000.parquet").metadata
    assert metadata == {b"dataset": b"wiki40b/ja/1.3.0", b"split": b"test", b"feature": b"text"}
    assert built.bytes == run(prepared(file_format), tfds_splits=("train", "test")).bytes


def test_shards_and_row_groups_are_bounded(
    prepared: Callable[[str], Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(prepared("tfrecord"), tfds_splits="train").rows["train-0000.parquet"]
    size = len(article(0).encode())
    monkeypatch.setattr(text_shards, "BATCH_BYTES", 2 * size)
    monkeypatch.setattr(text_shards, "SHARD_BYTES", 6 * size)
    built = run(prepared("tfrecord"), tfds_splits="train")
    assert len(built.rows) >= 3
    assert [row for rows in built.rows.values() for row in rows] == whole
    for path in (built.out / "tfds").iterdir():
        shard = pq.ParquetFile(path).metadata
        assert all(shard.row_group(i).num_rows <= 3 for i in range(shard.num_row_groups))


def test_a_slice_of_a_split(prepared: Callable[[str], Path], run: Run) -> None:
    whole = run(prepared("tfrecord"), tfds_splits="train").rows["train-0000.parquet"]
    for file_format in ("tfrecord", "array_record"):
        built = run(prepared(file_format), tfds_splits="train[25%:50%]")
        (rows,) = built.rows.values()
        assert [text for _, text in rows] == [text for _, text in whole[5:10]]
        assert built.origin["records"] == {"train[25%:50%]": 5}


def test_articles_become_paragraphs(
    prepared: Callable[[str], Path], run: Run, tmp_path: Path
) -> None:
    built = run(prepared("tfrecord"))
    out, scratch = tmp_path / "corpus", tmp_path / "spool"
    out.mkdir()
    scratch.mkdir()
    spec = CorpusSpec(reader="tfds", markup="wiki40b", split="hash", validation=0.2, test=0.2)
    counts = corpus.build(
        {"source": artifact_in(built.out)},
        {"corpus": spec, "seed": 1, "code_folder": ""},
        Workspace(out, scratch, tmp_path),
    )
    assert counts["left_out"] == {"empty paragraph": 29, "section heading": 29, "title": 29}
    assert (counts["read"], counts["kept"], counts["quarantined"]) == (6 * 29, 3 * 29, 0)
    documents = {
        row["id"]: row["text"]
        for path in (out / "documents").iterdir()
        for row in pq.read_table(path).to_pylist()
    }
    record, text = built.rows["test-0000.parquet"][2]
    number = int(text.split("その")[1].split("の")[0])
    assert documents[f"test/{record}#3"] == (
        f"{TITLES[number % 8]}の話、その{number}の2。{SENTENCES[(number + 2) % 4]}"
    )
    assert len(documents) == 3 * 29
    assert not any("_" in text or "\n" in text for text in documents.values())


def test_records_without_markup(prepared: Callable[[str], Path], run: Run, tmp_path: Path) -> None:
    built = run(prepared("tfrecord"), tfds_feature="wikidata_id")
    notes = Notes()
    spec = CorpusSpec(reader="tfds", split="hash", length=(3, 9))
    files = READERS["tfds"].files(artifact_in(built.out), spec, notes)
    found = list(documents_of("tfds", files, spec, notes))
    assert {document.text for document in found} == {f"Q{i}" for i in range(29)}
    assert {document.id for document in found} >= {"train/19", "validation/0", "test/4"}


def test_tfds_prepares_what_it_can(
    builders: SimpleNamespace, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    built = run(tmp_path / "data", tfds=f"{NAME}/ja", tfds_splits="test")
    origin = built.counts["origins"][f"{NAME}/ja/1.3.0"]
    assert origin["from"] == "prepared by tfds"
    assert {text for _, text in built.rows["test-0000.parquet"]} == {
        article(i) for i in range(24, 29)
    }
    assert (tmp_path / "data" / NAME / "ja" / "1.3.0" / "dataset_info.json").is_file()
    assert capsys.readouterr().out == ""  # which --json has for itself
    again = run(tmp_path / "data", tfds=f"{NAME}/ja:1.3.0", tfds_splits="test", offline=True)
    assert again.counts["origins"][f"{NAME}/ja/1.3.0"]["from"] == "prepared here"
    assert again.bytes == built.bytes


def fails(run: Run, *arguments: Any, kind: type[FolioError] = FolioError, **options: Any) -> str:
    with pytest.raises(FolioError) as caught:
        run(*arguments, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_offline_and_not_prepared(builders: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    for name in ("wiki40b/ja", f"{NAME}/ja"):
        message = fails(run, tmp_path / "data", tfds=name, offline=True, kind=UnreachableError)
        assert f"source.tfds {name}: not prepared in {tmp_path / 'data'}" in message
        assert "--offline forbids" in message
        assert f"set TFDS_DATA_DIR or --mirror to a folder that contains {name}/1.3.0" in message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tfds": "wiki40d/ja"}, "tensorflow-datasets has no 'wiki40d'; did you mean wiki40b or"),
        ({"tfds": "zzzzzzzz"}, "has no 'zzzzzzzz'; known: "),
        ({"tfds": "wiki40b/jp"}, "wiki40b has no configuration 'jp'; did you mean "),
        ({"tfds": "wiki40b/ja:9.9.9"}, "cannot be loaded at version 9.9.9, only: 1.3.0"),
        ({"tfds_splits": ("test", "trian")}, "1.3.0 has no split 'trian'; did you mean train?"),
        ({"tfds_splits": "train[:5"}, "train[:5: not a slice of train; write it like train[:1%]"),
        ({"tfds_feature": "texts"}, "1.3.0 has no feature 'texts'; did you mean text?"),
    ],
)
def test_names_that_tfds_does_not_know(
    prepared: Callable[[str], Path], run: Run, options: dict, message: str
) -> None:
    assert message in fails(run, prepared("tfrecord"), offline=True, **options)


def test_a_feature_that_is_no_text(builders: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    message = fails(run, tmp_path / "data", tfds=f"{NAME}/de", tfds_feature="size")
    assert "size of folio_articles/de/1.3.0 is not a text; text features: wiki" in message


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_record_file(
    prepared: Callable[[str], Path], run: Run, tmp_path: Path, harm: str
) -> None:
    shutil.copytree(prepared("tfrecord"), tmp_path / "data")
    (path,) = (tmp_path / "data").rglob("*train.tfrecord*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data[: len(data) // 2] if harm == "cut" else data)
    message = fails(run, tmp_path / "data", tfds_splits="train")
    assert f"{path.parent}: split train cannot be read beyond record" in message
    assert "delete that folder and run again" in message


# --- published: a data_dir that others prepared, in a mirror or at tfds' public address ----------


@pytest.fixture
def site(prepared: Callable[[str], Path], tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A server of a copy of the prepared folder."""
    root, asked = tmp_path / "site", []
    shutil.copytree(prepared("tfrecord"), root)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, text: str, *values: Any) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=root)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield SimpleNamespace(
            address=f"http://127.0.0.1:{server.server_port}", root=root, asked=asked
        )
        server.shutdown()
        thread.join()


def test_a_dataset_of_tfds_comes_from_where_tfds_publishes_it(
    prepared: Callable[[str], Path],
    site: SimpleNamespace,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "PUBLISHED", site.address)
    there = run(prepared("tfrecord"), tfds_splits="train")
    built = run(tmp_path / "data", tfds_splits="train")
    assert built.bytes == there.bytes
    assert built.origin == there.origin | {
        "from": "published by tfds",
        "address": "wiki40b/ja/1.3.0",
    }
    assert [path.rpartition("/")[2] for path in site.asked] == [
        "dataset_info.json",
        "wiki40b-train.tfrecord-00000-of-00001",
    ]  # no more than is needed
    assert not (tmp_path / "data").exists()
    run(tmp_path / "data", tfds_splits="train")
    assert len(site.asked) == 2  # scratch survives a kill, and what it holds is not fetched again


def test_the_mirror_is_tried_first(
    site: SimpleNamespace, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PUBLISHED", "http://127.0.0.1:9")
    by_folder = run(tmp_path / "data", mirror=str(site.root), tfds_splits="test", offline=True)
    shutil.rmtree(tmp_path / "scratch")
    by_address = run(tmp_path / "data", mirror=site.address, tfds_splits="test")
    assert by_folder.bytes == by_address.bytes
    assert len(site.asked) == 2


def test_nothing_answers(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PUBLISHED", "http://127.0.0.1:9")
    message = fails(run, tmp_path / "data", kind=UnreachableError)
    assert "http://127.0.0.1:9/wiki40b/ja/1.3.0/dataset_info.json: no answer" in message


def test_not_published_and_beyond_what_tfds_can_prepare(
    site: SimpleNamespace, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PUBLISHED", site.address)
    monkeypatch.setitem(sys.modules, "apache_beam", None)  # not installed, whatever is here
    (site.root / "wiki40b/ja/1.3.0/dataset_info.json").unlink()
    message = fails(run, tmp_path / "data")
    assert "and TFDS cannot prepare it (" in message and "apache_beam" in message


def test_a_published_dataset_that_lacks_a_file(
    site: SimpleNamespace, run: Run, tmp_path: Path
) -> None:
    (path,) = site.root.rglob("*train.tfrecord*")
    path.unlink()
    message = fails(
        run, tmp_path / "data", mirror=str(site.root), offline=True, kind=UnreachableError
    )
    assert path.name in message


IMPORTING = """\
import sys, threading
sys.setswitchinterval(1e-6)  # the other thread gets its turn within every step
over, seen = threading.Event(), set()

def other():
    while not over.is_set():
        from decimal import ROUND_UP
        seen.add(type(ROUND_UP).__name__)

thread = threading.Thread(target=other)
thread.start()
from pipelines.source.tfds_library import load_tfds
print(load_tfds().__name__)
over.set()
thread.join()
print(*seen)
"""


def test_other_threads_import_as_ever_while_tfds_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], cwd=PROJECT, text=True, capture_output=True, check=True
    )
    assert done.stdout.split() == ["tensorflow_datasets", "str"]


def test_the_installed_etils_has_what_is_replaced_while_tfds_is_imported() -> None:
    from etils.epy import lazy_imports_utils

    assert callable(getattr(lazy_imports_utils, "_lazy_import", None)), (
        f"etils {metadata.version('etils')} puts off imports in another way: "
        "see pipelines/source/tfds_library.py"
    )
