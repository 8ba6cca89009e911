"""What the page says of a verdict, and when and at what cost the model was made."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.registry.versions import versions
from pipelines.release.drift import TrainingText, from_version, measures
from pipelines.release.evidence import Evidence
from pipelines.report.page import render
from pipelines.report.stage import write_report
from pipelines.report.verdict_part import title
from pipelines.stages import stage_named
from pipelines.store.settings import Settings
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import artifact_of
from tests.pipelines.release.test_fair_comparison import words_of
from tests.pipelines.report.test_stage import Page
from tests.plain_stages import inputs_of

HOSTILE = "<script>alert('1')</script> <!-- drift -->"


@pytest.fixture(params=["tiny-reviews", pytest.param("tiny-play", marks=pytest.mark.long)])
def one(request: pytest.FixtureRequest, trained: Settings) -> SimpleNamespace:
    name = request.param
    inputs = {
        stage: artifact_of(trained, name, stage) for stage in inputs_of(stage_named("report"))
    }
    release = json.loads((inputs["release"].path / "release.json").read_bytes())
    return SimpleNamespace(
        name=name,
        inputs=inputs,
        path=artifact_of(trained, name, "report").path / "report.html",
        release=release | {"floor": 0.8, "margin": 0.02},
        metrics=json.loads((inputs["metrics"].path / "metrics.json").read_bytes()),
        predictions=pq.read_table(inputs["metrics"].path / "predictions.parquet"),
        metric="accuracy" if name == "tiny-reviews" else "bits_per_character",
        before={"version": 7, "figures": {"accuracy": 0.5}},
    )


def written(one: SimpleNamespace, out: Path, **release: Any) -> Path:
    write_report(out, one.metrics, one.inputs, one.predictions, one.release | release)
    return out / "report.html"


def evidence(metric: str, **changes: Any) -> dict[str, Any]:
    found = {
        "metric": metric,
        "champion": 0.75,
        "challenger": 0.8,
        "low": 0.03,
        "high": 0.07,
        "confidence": 0.95,
        "units": "test documents",
        "count": 1234,
    } | changes
    return Evidence(**found).as_json()


def test_the_first_release_shows_its_figures_and_what_they_must_beat(one: SimpleNamespace) -> None:
    page = words_of(one.path)
    assert "Promoted: version 1 is champion" in page and f"{one.release['reason']}." in page
    assert "There was no champion before" in page and "champion, version" not in page
    beaten = "5-gram" if one.name == "tiny-play" else "NB-SVM"
    assert f"figure this model, version 1 {beaten}" in page
    shown = (
        r"Bits per character, which decides \d\.\d{3} \d\.\d{3} "
        if one.name == "tiny-play"
        else r"Accuracy, which decides [\d.]+% [\d.]+% Log loss 0\.\d{4} 0\.\d{4} "
        r"ROC AUC 0\.\d{4} 0\.\d{4} "
    )
    assert re.search(shown, page)


def test_metrics_of_earlier_versions_have_to_beat_the_majority_class(
    one: SimpleNamespace, tmp_path: Path
) -> None:
    if one.metrics["kind"] == "language_model":
        return
    earlier = {name: found for name, found in one.metrics.items() if name != "baselines"}
    write_report(tmp_path, earlier, one.inputs, one.predictions, one.release)
    page = words_of(tmp_path / "report.html")
    assert "figure this model, version 1 majority-class baseline" in page
    assert re.search(r"ROC AUC 0\.\d{4} 0\.5000 ", page)


def test_a_verdict_adds_its_sections_and_changes_no_other(
    one: SimpleNamespace, tmp_path: Path
) -> None:
    write_report(tmp_path, one.metrics, one.inputs, one.predictions)
    page, plain = Page(one.path), Page(tmp_path / "report.html")
    assert page.values("src") == plain.values("src") and page.css == plain.css
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "h2"]
    before = [attributes["id"] for tag, attributes in plain.elements if tag == "h2"]
    assert sections == ["verdict", *before[:-4], "drift", *before[-4:]]
    assert page.values("href") == [f"#{name}" for name in sections]
    text = one.path.read_text(encoding="utf-8")
    assert "<script" not in text and not re.search("https?:", text)


@pytest.mark.parametrize(
    ("verdict", "champion", "said"),
    [
        ("promote", 2, "Promoted: version 2 is champion"),
        ("reject", 1, "Rejected: version 1 stays champion"),
        ("reject", None, "Rejected: there is no champion"),
        ("inconclusive", 1, "Inconclusive: version 1 stays champion"),
    ],
)
def test_the_verdict_in_a_few_words(verdict: str, champion: int | None, said: str) -> None:
    assert title({"version": 2, "verdict": verdict, "champion": champion}) == said


def test_hostile_text_stays_text(one: SimpleNamespace, tmp_path: Path) -> None:
    path = written(one, tmp_path, reason=HOSTILE)
    assert HOSTILE in Page(path).text and "<script" not in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").count('id="drift"') == 1


def test_a_release_says_when_by_whom_and_at_what_cost_it_was_made(
    one: SimpleNamespace, tmp_path: Path
) -> None:
    text, made = Page(one.path).text, one.inputs["model"].manifest
    assert f"{one.name}: report" in text and f"Report: {one.name}\n" in text
    assert ", profile full\n" in text and f"folio run {one.name} --profile full\n" in text
    assert f"folio show {made['run']}\n" in text
    assert f"was built {made['created'][:16].replace('T', ' ')} UTC." in text
    assert text.count(made["run"]) >= 1 + len(one.inputs)
    sample = words_of(written(one, tmp_path, sample=True))
    assert "--profile full --allow-sample" in sample
    counts = made["counts"] | {"epoch_seconds": [59.0, 63.0], "resumed": True}
    model = replace(one.inputs["model"], manifest=made | {"counts": counts})
    inputs = one.inputs | {"model": model}
    page = words_of(written(SimpleNamespace(**vars(one) | {"inputs": inputs}), tmp_path))
    assert "Training took 2 min 2 s, 1 min 1 s per epoch. It was interrupted" in page


def marks(page: Page) -> dict[str, float]:
    """Where the picture of the interval has what, from the left."""
    found = {
        attributes["class"]: attributes
        for _, attributes in page.elements
        if attributes.get("class") in ("band", "zero", "spread")
    }
    low, high = re.match(r"M([\d.]+) 35H([\d.]+)M", found["spread"]["d"]).groups()
    return {
        "zero": float(re.match(r"M([\d.]+)", found["zero"]["d"])[1]),
        "low": float(low),
        "high": float(high),
        "band": float(found["band"]["x"]),
        "band_end": float(found["band"]["x"]) + float(found["band"]["width"]),
    }


def test_the_picture_has_better_on_the_right(one: SimpleNamespace, tmp_path: Path) -> None:
    worse = evidence(one.metric)
    better = evidence(one.metric, challenger=0.7, low=-0.07, high=-0.03)
    if one.metric == "accuracy":
        worse, better = better, worse
    at = marks(Page(written(one, tmp_path, before=one.before, evidence=better)))
    assert at["band"] < at["zero"] < at["band_end"] < at["low"] < at["high"]
    at = marks(Page(written(one, tmp_path, before=one.before, evidence=worse)))
    assert at["low"] < at["high"] < at["band"] < at["zero"] < at["band_end"]


def test_both_figures_stand_side_by_side(one: SimpleNamespace, tmp_path: Path) -> None:
    found = evidence(one.metric, left_out=5, rescored=True)
    same = {"version": 7, "same_text": True, "drifted": [], "measures": []}
    page = words_of(written(one, tmp_path, before=one.before, evidence=found, drift=same))
    assert "this model, version 1 champion, version 7 difference interval" in page
    shown = (
        "80.0% 75.0% +5.00 points +3.00 to +7.00 points"
        if one.metric == "accuracy"
        else "0.800 0.750 +0.0500 +0.0300 to +0.0700"
    )
    assert f"which decides {shown}" in page
    assert "on 1,234 test documents; 5 are left out because the champion was trained" in page
    assert "the champion was scored again on this test text" in page
    assert "version 7 was trained on the same text, with the same tokens" in page
    alone = words_of(written(one, tmp_path, before=one.before, evidence=None))
    assert "The champion's figures are from its own evaluation." in alone  # as a floor had decided


def test_a_text_that_is_gone_or_not_comparable_is_said(
    one: SimpleNamespace, trained: Settings, tmp_path: Path
) -> None:
    (champion,) = versions(trained.home, one.name)
    for tags, why in (
        ({"folio.corpus.key": "0" * 64}, "what it was trained on is no longer in the store"),
        ({"folio.sample": "true"}, "one of the two was trained on the sample text"),
    ):
        other = replace(champion, tags=champion.tags | tags)
        texts = (one.inputs["corpus"], one.inputs["tokens"])
        assert from_version(other, trained.store, False, *texts) == why
        page = words_of(written(one, tmp_path, drift={"version": 7, "not_compared": why}))
        assert f"not compared with that of champion version 7: {why}." in page


def test_drift_is_a_table(tmp_path: Path) -> None:
    old, new = (np.bincount(np.random.default_rng(1).poisson(mean, 500)) for mean in (20, 40))
    vocabulary = Vocabulary("char", False, ("<pad>", "<unknown>", "a"), (0, 0, 9))
    texts = [
        TrainingText(lengths, {"yes": yes, "no": 500 - yes}, vocabulary, (0, 50))
        for lengths, yes in ((old, 250), (new, 260))
    ]
    found = measures(*texts)
    path = tmp_path / "drift.html"
    path.write_text(
        render(
            "drift.html",
            release={
                "drift": {
                    "version": 7,
                    "same_text": False,
                    "measures": found,
                    "drifted": [row["measure"] for row in found if row["drifted"]],
                }
            },
        ),
        encoding="utf-8",
    )
    page = words_of(path)
    assert (
        "This text has drifted from what champion version 7 was trained on: median length (tokens)."
    ) in page
    for row in found:
        drift = ": drift" if row["drifted"] else ""
        assert (
            f"{row['measure']}{drift} {row['old']:.4g} {row['new']:.4g} {row['index']:.3f} "
            f"{row['test']} {row['statistic']:.3g} {row['p']:.2g}"
        ) in page
    assert page.count(": drift") == 1 and "share of label 1" in page
