"""The report, made by the real stages on tiny texts: whole, safe, and the same each time."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.baselines import baseline_line
from pipelines.report.classifier_part import EXCERPT_CHARACTERS, MISTAKES, excerpt
from pipelines.report.stage import write_report
from pipelines.report.visible import UNSEEN, visible
from pipelines.run.execute import draw_report, execute_stage
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, REVIEWS, artifact_of, spec_of
from tests.plain_stages import STAGES, inputs_of

SAMPLES = PROJECT / "data" / "samples"
HOSTILE = (
    "<script src=http://evil.example/x.js>alert('1')</script></blockquote>&amp;\x07\x1b[2J\u202e"
)
LABEL = "<b>$\\frac{$\x1b\u202e"  # which would be a broken formula in a picture
VOID = {"meta", "img", "br"}
SECTIONS = {
    "classifier": ["training", "answers", "baselines", "slices", "scores", "mistakes"],
    "language_model": ["training", "baselines", "context", "slices", "samples", "generated"],
}


def _opened(inputs: dict[str, Artifact], home: Path) -> SimpleNamespace:
    metrics = inputs["metrics"].path
    return SimpleNamespace(
        path=draw_report(inputs, Settings.at(home)).path,
        inputs=inputs,
        metrics=json.loads((metrics / "metrics.json").read_bytes()),
        predictions=pq.read_table(metrics / "predictions.parquet"),
    )


@pytest.fixture(scope="session")
def evaluated(
    tmp_path_factory: pytest.TempPathFactory, trained: Settings
) -> dict[str, SimpleNamespace]:
    """One of each kind; every review ends in a script of its own, every label is markup."""
    folder = tmp_path_factory.mktemp("evaluated")
    with (SAMPLES / "reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["review"] + HOSTILE, LABEL + row["sentiment"]) for row in csv.DictReader(file)]
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("review", "sentiment"), *rows])
    labels = [f"{LABEL}negative", f"{LABEL}positive"]
    declared = folder / "reviews.yaml"
    declared.write_text(
        REVIEWS.format(samples=folder)
        .replace("epochs: 2", "epochs: 1")
        .replace(
            "label_column: sentiment", f"label_column: sentiment, labels: {json.dumps(labels)}"
        ),
        encoding="utf-8",
    )
    reviews: dict[str, Artifact] = {}
    for stage in STAGES[:6]:
        inputs = {name: reviews[name] for name in inputs_of(stage)}
        reviews[stage.name] = execute_stage(
            stage, spec_of(declared), inputs, Settings.at(folder), run="run-of-reviews"
        ).artifact
    drawn_of = stage_named("report").reads(reviews)
    reviews = {name: reviews[name] for name in drawn_of}
    play = {name: artifact_of(trained, "tiny-play", name) for name in drawn_of}
    return {"classifier": _opened(reviews, folder), "language_model": _opened(play, folder)}


@pytest.fixture(scope="session", params=["classifier", "language_model"])
def one(request: pytest.FixtureRequest, evaluated: dict[str, SimpleNamespace]) -> SimpleNamespace:
    return evaluated[request.param]


class Page(HTMLParser):
    """Elements in order, their attributes, and the text outside <style>. Checks the nesting."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = self.css = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.css += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [found[name] for _, found in self.elements if name in found]


def _render(one: SimpleNamespace, out: Path, **changes: object) -> Page:
    given = vars(one) | changes
    write_report(out, given["metrics"], given["inputs"], given["predictions"])
    return Page(out / "report.html")


def test_page_stands_alone(one: SimpleNamespace) -> None:
    page = Page(one.path / "report.html")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "base", "form"}
    assert "url(" not in page.css and "@import" not in page.css
    images = page.values("src")
    assert images and all(image.startswith("data:image/png;base64,") for image in images)
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert "http:" not in (value or "") and "https:" not in (value or ""), name
    assert len(images) == len(list((one.path / "plots").glob("*.png")))


def test_every_link_has_its_section(one: SimpleNamespace) -> None:
    page = Page(one.path / "report.html")
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "h2"]
    assert sections == [*SECTIONS[one.metrics["kind"]], "data", "lineage", "settings", "again"]
    assert page.values("href") == [f"#{name}" for name in sections]


def test_lineage_settings_and_commands(one: SimpleNamespace) -> None:
    page = Page(one.path / "report.html")
    for artifact in one.inputs.values():
        assert artifact.key[:12] in page.text
        for digest in artifact.manifest["inputs"].values():
            assert digest[:8] in page.text
        for name, version in artifact.manifest["libraries"].items():
            assert re.search(rf"{name}\s*{re.escape(version)}", page.text)
        for key in artifact.manifest["config"]:
            assert key in page.text
    assert f"folio reproduce {one.inputs['model'].key[:12]}\n" in page.text


def test_what_was_measured_and_released_holds_no_page(trained: Settings) -> None:
    """So that another look of the page measures and releases nothing again."""
    files = {
        stage: set(artifact_of(trained, "tiny-play", stage).manifest["files"])
        for stage in ("metrics", "release", "report")
    }
    tables = {"predictions.parquet", "segments.parquet", "metrics.json", "samples.txt"}
    assert files["metrics"] == tables and files["release"] == {"release.json"}
    assert {name.split("/")[0] for name in files["report"]} == {"report.html", "plots"}


def test_classifier_page_gives_the_figures(evaluated: dict[str, SimpleNamespace]) -> None:
    one = evaluated["classifier"]
    page = Page(one.path / "report.html")
    headline, confusion = one.metrics["headline"], one.metrics["confusion"]
    assert f"{headline['accuracy']:.1%}" in page.text
    assert f"{headline['log_loss']:.4f}" in page.text
    assert f"{headline['roc_auc']:.4f}" in page.text
    shown = [page.text.index(f"true {visible(LABEL)}{name}") for name in ("positive", "negative")]
    first, second = page.text[shown[0] : shown[1]], page.text[shown[1] : shown[1] + 120]
    assert first.split()[2::2] != second.split()[2::2]
    for row, keys in (
        (first, ("true_positive", "false_negative")),
        (second, ("false_positive", "true_negative")),
    ):
        assert re.match(
            rf"true \S+\s+{confusion[keys[0]]}[\d.]+%\s+{confusion[keys[1]]}[\d.]+%", row
        )
    for rows in one.metrics["slices"].values():
        for row in rows:
            assert re.search(
                rf"{row['slice']}\s*{row['documents']}\s*{row['accuracy']:.1%}"
                rf"[\d.]+–[\d.]+%\s*{row['log_loss']:.4f}",
                page.text,
            )
    for row in one.inputs["batches"].counts["train"]["per_width"]:
        assert re.search(
            rf"{row['width']}\s*{row['batches']}\s*{row['rows']}\s*"
            rf"{row['padding_share']:.1%}",
            page.text,
        )


def test_mistakes_are_the_surest_and_quoted(evaluated: dict[str, SimpleNamespace]) -> None:
    one = evaluated["classifier"]
    rows = one.predictions.to_pylist()
    wrong = [row for row in rows if (row["probability"] > 0.5) != (row["label"] > 0.5)]
    wrong.sort(key=lambda row: (-abs(row["probability"] - 0.5), row["id"]))
    assert wrong
    html = (one.path / "report.html").read_text(encoding="utf-8")
    listed = re.findall(r'unknown, <span class="mono">(.*?)</span>', html)
    assert listed == [row["id"] for row in wrong[:MISTAKES]]
    corpus = pq.read_table(one.inputs["corpus"].path / "documents").to_pylist()
    texts = {row["id"]: row["text"] for row in corpus}
    page = Page(one.path / "report.html")
    for name in listed:
        assert visible(excerpt(texts[name])) in page.text


def test_hostile_text_stays_text(evaluated: dict[str, SimpleNamespace]) -> None:
    html = (evaluated["classifier"].path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script src=http://evil.example/x.js&gt;" in html
    assert "<script" not in html and "<b>$" not in html and not UNSEEN.search(html)


def test_hostile_sample_stays_text(evaluated: dict[str, SimpleNamespace], tmp_path: Path) -> None:
    one = evaluated["language_model"]
    made = [{"temperature": 1.0, "seed": 1, "start": "<i>", "text": f"</pre>{HOSTILE}"}]
    page = _render(one, tmp_path, metrics=one.metrics | {"samples": made})
    assert "<i></pre><script src=http://evil.example" in page.text
    assert not {tag for tag, _ in page.elements} & {"script", "i"}


def test_language_model_page_gives_the_figures(evaluated: dict[str, SimpleNamespace]) -> None:
    one = evaluated["language_model"]
    page = Page(one.path / "report.html")
    headline, bins = one.metrics["headline"], one.metrics["by_position"]
    assert f"{headline['bits_per_character']:.3f}" in page.text
    assert f"{headline['nats_per_character']:.3f}" in page.text
    assert f"{headline['perplexity']:.2f}" in page.text
    for tokens, nats in zip(bins["tokens"], bins["nats"], strict=True):
        if tokens:
            assert re.search(rf"{tokens:,.0f}\s*{nats / tokens:.4f}", page.text)
    assert re.search(r"1 to 9\s*9\d\.\d{4}", page.text)  # 9 places, one lane
    assert re.search(r"10 to 29\s*20\d\.\d{4}", page.text)
    samples = one.metrics["samples"]
    assert [sample["temperature"] for sample in samples] == [0.5] * 3 + [1.0] * 3
    for sample in samples:
        assert sample["start"] + sample["text"] in page.text


def test_baselines_stand_beside_the_model(
    evaluated: dict[str, SimpleNamespace], tmp_path: Path
) -> None:
    one = evaluated["language_model"]
    page = Page(one.path / "report.html")
    rows = one.metrics["baselines"] | {"this model": one.metrics["headline"]}
    assert list(rows) == ["unigram", "5-gram", "this model"]
    for name, row in rows.items():
        shown = f"{name} {row['bits_per_character']:.3f} "
        if name != "this model":
            found = row["difference"]["bits_per_character"]
            shown += "{effect:+.4f} {low:+.4f} to {high:+.4f} ".format(**found)
        shown += f"{row['perplexity']:.2f} {row['accuracy']:.1%}"
        assert shown.replace(" ", "") in re.sub(r"\s", "", page.text)
    assert baseline_line(one.metrics).startswith("behind its 5-gram: ")
    assert f"Against counting: {baseline_line(one.metrics)}." in page.text
    train = one.inputs["tokens"].counts["train"]["tokens"]
    assert f"estimated from {train:,} train tokens." in page.text
    better = {  # as earlier versions wrote it
        name: row | {"bits_per_character": bits, "train_tokens_left_out": 12345, "difference": {}}
        for (name, row), bits in zip(one.metrics["baselines"].items(), (5.0, 4.0), strict=True)
    }
    headline = one.metrics["headline"] | {"bits_per_character": 3.0}
    page = _render(one, tmp_path, metrics=one.metrics | {"baselines": better, "headline": headline})
    assert "Against counting: beats its 5-gram: 25.0% fewer bits." in page.text
    assert "the remaining 12,345 were left out." in page.text


def test_baselines_of_a_classifier_stand_beside_it(
    evaluated: dict[str, SimpleNamespace], tmp_path: Path
) -> None:
    one = evaluated["classifier"]
    page = Page(one.path / "report.html")
    text = re.sub(r"\s+", "", page.text)
    assert list(one.metrics["baselines"]) == ["NB-SVM", "logistic regression"]
    for name, row in one.metrics["baselines"].items():
        found = {key: 100 * value for key, value in row["difference"]["accuracy"].items()}
        shown = f"{name} {row['accuracy']:.1%} "
        shown += "{effect:+.2f}points {low:+.2f} to {high:+.2f}points ".format(**found)
        shown += f"{row['log_loss']:.4f} {row['roc_auc']:.4f}"
        assert shown.replace(" ", "") in text
    train = one.inputs["corpus"].counts["splits"]["train"]["documents"]
    assert f"trained on {train:,} train documents." in page.text
    assert f"Against counting: {baseline_line(one.metrics)}." in page.text
    why = {"not_measured": "the train split has only one class"}
    page = _render(one, tmp_path, metrics=one.metrics | {"baselines": {"NB-SVM": why}})
    assert "Against counting: no baseline: the train split has only one class." in page.text
    earlier = {name: found for name, found in one.metrics.items() if name != "baselines"}
    page = _render(one, tmp_path, metrics=earlier)
    assert "Against counting" not in page.text and "#baselines" not in page.values("href")


def test_generated_text_stands_beside_the_held_out(
    evaluated: dict[str, SimpleNamespace], tmp_path: Path
) -> None:
    one = evaluated["language_model"]
    page, found = Page(one.path / "report.html"), one.metrics["generated"]
    assert f"{found['units']:,} words of each" in page.text
    assert re.search(r"temperature 0\.5temperature 1test text", page.text)
    for name, key in (
        ("words known from training", "known"),
        ("new sequences of 4 words", "new_4"),
        ("new sequences of 10 characters", "new_string"),
        (r"distinct sequences of 3 words \(distinct-3\)", "distinct_3"),
    ):
        shares = "".join(f"{figures[key]['share']:.1%}" for figures in found["texts"].values())
        assert re.search(rf"{name}{shares}", page.text), key
    page = _render(one, tmp_path, metrics=one.metrics | {"generated": None, "samples": []})
    assert "#generated" not in page.values("href") and "None were requested" in page.text


def test_bits_of_word_models_come_with_a_warning(
    evaluated: dict[str, SimpleNamespace], tmp_path: Path
) -> None:
    one = evaluated["language_model"]
    assert "comparable for any kind of tokens" in Page(one.path / "report.html").text
    tokens = one.inputs["tokens"]
    config = tokens.manifest["config"] | {"tokens.kind": "word"}
    words = replace(tokens, manifest=tokens.manifest | {"config": config})
    sums = one.metrics["sums"] | {"tokens": 1000, "unknown": 45}
    page = _render(
        one, tmp_path, inputs=one.inputs | {"tokens": words}, metrics=one.metrics | {"sums": sums}
    )
    assert "4.5% of the words are the unknown token" in page.text
    assert "comparable for any kind of tokens" not in page.text


def test_one_class_of_context_needs_no_section(
    evaluated: dict[str, SimpleNamespace], tmp_path: Path
) -> None:
    one = evaluated["language_model"]
    bins = one.metrics["by_position"]
    only = [0, bins["tokens"][1], *[0] * (len(bins["tokens"]) - 2)]
    page = _render(one, tmp_path, metrics=one.metrics | {"by_position": bins | {"tokens": only}})
    assert "#context" not in page.values("href") and "#samples" in page.values("href")


def test_same_input_same_bytes(one: SimpleNamespace, tmp_path: Path) -> None:
    _render(one, tmp_path)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(one.path)
        for path in one.path.rglob("*")
        if path.suffix in (".png", ".html")
    )
    for name in names:
        assert (tmp_path / name).read_bytes() == (one.path / name).read_bytes(), name


def test_history_and_the_chosen_epoch(one: SimpleNamespace, tmp_path: Path) -> None:
    history = pq.read_table(one.inputs["model"].path / "history.parquet").to_pylist()[0]
    rows = [
        history | {"epoch": epoch, "validation_loss": loss}
        for epoch, loss in ((1, 0.75), (2, 0.5), (3, 0.625))
    ]
    (tmp_path / "model").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "model" / "history.parquet")
    model = one.inputs["model"]
    counts = model.counts | {"best_epoch": 2}
    model = replace(model, path=tmp_path / "model", manifest=model.manifest | {"counts": counts})
    page = _render(one, tmp_path, inputs=one.inputs | {"model": model})
    chosen = [
        attributes
        for tag, attributes in page.elements
        if attributes.get("class") == "chosen" and tag == "tr"
    ]
    assert len(chosen) == 1
    for loss in ("0.7500", "0.5000", "0.6250"):
        assert re.search(rf"{loss}[\d.]+%?[\d,]+\n", page.text)


def test_sample_models_are_called_so(one: SimpleNamespace, tmp_path: Path) -> None:
    assert "Sample." not in Page(one.path / "report.html").text
    model = replace(one.inputs["model"], manifest=one.inputs["model"].manifest | {"sample": True})
    page = _render(one, tmp_path, inputs=one.inputs | {"model": model})
    assert "Sample." in page.text


def test_missing_counts_leave_gaps(one: SimpleNamespace, tmp_path: Path) -> None:
    corpus = one.inputs["corpus"]
    bare = {
        key: value
        for key, value in corpus.manifest.items()
        if key not in ("pipeline", "profile", "run", "git_commit", "sample", "seed")
    }
    corpus = replace(corpus, manifest=bare | {"counts": {}})
    page = _render(one, tmp_path, inputs=one.inputs | {"corpus": corpus})
    assert "All documents that were read" not in page.text


def test_quarantine_reasons_are_counted(one: SimpleNamespace, tmp_path: Path) -> None:
    corpus = one.inputs["corpus"]
    counts = corpus.counts | {"read": 1234, "quarantined": 17, "reasons": {"not-utf8": 17}}
    corpus = replace(corpus, manifest=corpus.manifest | {"counts": counts})
    page = _render(one, tmp_path, inputs=one.inputs | {"corpus": corpus})
    assert re.search(r"quarantined\s*17\s*not-utf8\s*17\s*read\s*1,234\s", page.text)


def test_what_was_left_out_and_ignored_is_said(one: SimpleNamespace, tmp_path: Path) -> None:
    corpus = one.inputs["corpus"]
    counts = corpus.counts | {
        "read": 1300,
        "kept": 1200,
        "quarantined": 0,
        "reasons": {},
        "left_out": {"title": 60, "too short": 40},
        "ignored": {"blank lines": 7654, "other files": 2},
        "notices": ["kept, though <odd>"],
    }
    config = corpus.manifest["config"] | {"corpus.length": [10, 80]}
    corpus = replace(corpus, manifest=corpus.manifest | {"counts": counts, "config": config})
    page = _render(one, tmp_path, inputs=one.inputs | {"corpus": corpus})
    assert "Ignored because they are not documents: 7,654 blank lines, 2 other files." in page.text
    assert "kept, though <odd>" in page.text
    assert re.search(
        r"kept\s*1,200\s*quarantined\s*0\s*left out\s*100\s*title\s*60\s*"
        r"too short: fewer than 10 characters\s*40\s*read\s*1,300\s",
        page.text,
    )


def test_no_mistake_and_one_class(evaluated: dict[str, SimpleNamespace], tmp_path: Path) -> None:
    one = evaluated["classifier"]
    right = one.predictions.filter(pa.compute.greater(one.predictions["label"], 0.5))
    probability = pa.array([0.875] * right.num_rows)
    for name, values in (
        ("probability", probability),
        ("correct", pa.array([True] * right.num_rows)),
    ):
        right = right.set_column(right.column_names.index(name), name, values)
    headline = one.metrics["headline"] | {"roc_auc": None}
    page = _render(
        one,
        tmp_path,
        predictions=right,
        metrics=one.metrics
        | {
            "headline": headline,
            "slices": {},
            "confusion": {
                "true_positive": right.num_rows,
                "false_positive": 0,
                "true_negative": 0,
                "false_negative": 0,
            },
        },
    )
    assert "every test document was labelled correctly" in page.text
    assert "contains only one class" in page.text
    assert "#slices" not in page.values("href")


def test_excerpt_keeps_both_ends() -> None:
    assert excerpt("  two\n\nlines ") == "two lines"
    text = "first " + "middle " * 200 + "last"
    cut = excerpt(text)
    assert len(cut) <= EXCERPT_CHARACTERS
    assert cut.startswith("first middle") and cut.endswith("middle last") and " … " in cut
    assert len(excerpt("x" * 1000)) == EXCERPT_CHARACTERS - 1  # no blanks to cut at: two halves
