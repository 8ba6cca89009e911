from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.corpus.test_stage import Built, fails, table

TOPICS = ["film", "food", "sport", "travel", "weather"]
KINDS = {"reader": "csv", "text_column": "text", "label_column": "topic", "split": "hash"}
HEADER = ("text", "topic")


def texts(count: int, labels: list[str] = TOPICS) -> list[tuple[str, str]]:
    """The last label comes first: numbers in order of rows are not those in the artifact."""
    return [(f"text {n}", labels[-1 - n % len(labels)]) for n in range(count)]


def built(folder: Path, rows: list[tuple[str, str]], **settings: Any) -> Built:
    shares = {"validation": 0.2, "test": 0.2}
    return Built(folder, {"t.csv": table(rows, HEADER)}, **KINDS | shares | settings)


def labelled(found: Built) -> dict[str, float]:
    rows = found.documents.select("text", "label").rows()
    return dict(sorted(rows))


def test_labels_that_are_left_out_are_those_of_train_in_order(tmp_path: Path) -> None:
    found = built(tmp_path / "a", texts(100))
    assert found.counts["labels"] == TOPICS
    assert labelled(found) == dict(sorted((t, TOPICS.index(topic)) for t, topic in texts(100)))
    for split, part in found.counts["splits"].items():
        numbers = found.column("label", split)
        assert part["by_label"] == [numbers.count(number) for number in range(5)]
        assert "positives" not in part
    declared = built(tmp_path / "b", texts(100), labels=TOPICS)
    assert declared.bytes == found.bytes and declared.counts == found.counts


def test_two_labels_that_are_left_out_are_as_if_declared(tmp_path: Path) -> None:
    found = built(tmp_path / "a", texts(100, ["no", "yes"]))
    declared = built(tmp_path / "b", texts(100, ["no", "yes"]), labels=("no", "yes"))
    assert declared.bytes == found.bytes
    assert found.counts == declared.counts | {"labels": ["no", "yes"]}


def test_a_label_that_train_lacks_is_quarantined_and_counted(tmp_path: Path) -> None:
    """Which rows are in train depends on their texts alone."""
    first = built(tmp_path / "a", texts(200))
    tested = set(first.column("text", "test"))
    rare = sorted(tested)[:2]
    rows = [(text, "rare" if text in rare else topic) for text, topic in texts(200)]
    found = built(tmp_path / "b", rows)
    assert found.counts["labels"] == TOPICS
    assert found.counts["reasons"] == {"label-not-in-train": 2} and found.counts["kept"] == 198
    assert found.quarantine["excerpt"].to_list() == sorted(rare, key=lambda t: int(t.split()[1]))
    assert labelled(found).keys() == labelled(first).keys() - set(rare)


def test_a_label_that_occurs_once(tmp_path: Path) -> None:
    rows = [*texts(60), ("text 60", "sprot"), ("text 61", "flim")]
    for number, more in enumerate(({}, {"labels": [*TOPICS, "sprot", "flim"]})):
        message = fails(tmp_path / str(number), {"t.csv": table(rows, HEADER)}, **KINDS | more)
        assert message.startswith("t.csv:61: the label 'sprot' occurs only here (as 1 more")


def test_one_label_is_too_few(tmp_path: Path) -> None:
    message = fails(tmp_path, {"t.csv": table(texts(40, ["film"]), HEADER)}, **KINDS)
    assert "every document of the train split has the label 'film' (column 'topic')" in message


def test_declared_labels_that_train_lacks(tmp_path: Path) -> None:
    more = {"labels": [*TOPICS, "art", "law"]}
    message = fails(tmp_path, {"t.csv": table(texts(60), HEADER)}, **KINDS | more)
    assert "has the label 'art' (corpus.labels), nor 1 more of the 7 labels; fix" in message


@pytest.mark.parametrize("separator", ["|", ";"])
def test_several_labels_in_a_cell_are_one_label(tmp_path: Path, separator: str) -> None:
    both = separator.join(TOPICS[:2])
    found = built(tmp_path, texts(60, [*TOPICS[2:], both]))
    assert found.counts["labels"] == sorted([*TOPICS[2:], both])
