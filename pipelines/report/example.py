"""Texts for the commands that a finished run proposes: held-out ones that the model can read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from textwrap import shorten

SPLITS = ("test", "validation", "train")
ROWS, LINES = 64, 500  # of a split that are looked at
TEXT, START = (20, 60), (3, 30)  # the least and the most characters that are shown


def example_text(corpus: Path) -> str | None:
    """The beginning of a held-out document."""
    return next(_usable(_texts(corpus, "test"), TEXT), None)


def example_start(declared: str, corpus: Path, tokens: Path) -> str | None:
    """The declared start if it is one line that the vocabulary knows, else one from the text."""
    from pipelines.tokens.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(tokens / "vocabulary")
    lines = (line for split in SPLITS for line in islice(_lines(corpus, split), LINES))
    declared = declared.strip("\n")
    given = [declared] if declared.strip() and declared.isprintable() else []
    for start in (*given, *_usable(lines, START)):
        if not vocabulary.unknown_in(start):
            return start
    return None


def _usable(texts: Iterable[str], lengths: tuple[int, int]) -> Iterator[str]:
    """Beginnings that fit on a command line: one printable line that is not taken for an option."""
    least, most = lengths
    for text in texts:
        line = " ".join(text[: 10 * most].split())
        cut = line if len(line) <= most else shorten(line, most, placeholder="") or line[:most]
        if len(cut) >= least and cut.isprintable() and not cut.startswith("-"):
            yield cut


def _lines(corpus: Path, split: str) -> Iterator[str]:
    for text in _texts(corpus, split):
        yield from text.splitlines()


def _texts(corpus: Path, split: str) -> Iterator[str]:
    """The first texts of a split."""
    import pyarrow.parquet as pq

    for shard in sorted(corpus.glob(f"documents/{split}-*.parquet"))[:1]:
        with pq.ParquetFile(shard) as file:
            for batch in islice(file.iter_batches(ROWS, columns=["text"]), 1):
                yield from batch["text"].to_pylist()
