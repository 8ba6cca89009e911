"""Who becomes champion, and what the verdict says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.declaration.spec import RegistrySpec
from pipelines.registry.figures import Figures
from pipelines.release.evidence import DOCUMENTS, SEGMENTS_OF_TEXT, Evidence
from pipelines.release.gate import Verdict, held, judge

ACCURACY = RegistrySpec(metric="accuracy", floor=0.8)
BITS = RegistrySpec(metric="bits_per_character", floor=4.0)
CHAMPION = Figures({"accuracy": 0.85, "log_loss": 0.5, "bits_per_character": 2.0}, version=3)


def accuracy(value: float | None, sample: bool = False, version: int | None = None) -> Figures:
    return Figures({"accuracy": value, "log_loss": 0.5}, sample, version)


def counted(low: float, high: float, name: str = "NB-SVM") -> dict[str, dict]:
    """A baseline with accuracy 0.8, and the interval of the model's difference."""
    return {name: {"accuracy": 0.8, "difference": {"accuracy": {"low": low, "high": high}}}}


BETTER = RegistrySpec(metric="accuracy", floor="baseline")
NO_WORDS = {"NB-SVM": {"not_measured": "there are no words in the train split"}}


@pytest.mark.parametrize(
    ("value", "baselines", "verdict", "reason"),
    [
        (0.85, counted(0.02, 0.08), "promote", "accuracy 0.85; there was no champion"),
        (
            0.81,
            counted(-0.01, 0.03),
            "reject",
            "accuracy 0.81 is not demonstrably better than 0.8 of its best baseline, NB-SVM: "
            "+0.01 (95% interval -0.01 to +0.03)",
        ),
        (
            0.7,
            counted(-0.15, -0.05),
            "reject",
            "accuracy 0.7 is worse than 0.8 of its best baseline, NB-SVM: "
            "-0.1 (95% interval -0.15 to -0.05)",
        ),
        (
            0.85,
            NO_WORDS,
            "reject",
            "accuracy must be better than the best baseline's, and there is none: "
            "there are no words in the train split",
        ),
        (
            0.85,
            {},
            "reject",
            "accuracy must be better than the best baseline's, and there is none: "
            "this model was measured without baselines",
        ),
    ],
)
def test_a_model_must_beat_its_best_baseline(
    value: float, baselines: dict[str, dict], verdict: str, reason: str
) -> None:
    challenger = replace(accuracy(value), baselines=baselines)
    found = judge(challenger, None, BETTER)
    assert (found.verdict, found.reason) == (verdict, reason)
    sample = replace(challenger, sample=True)
    assert judge(sample, None, BETTER).verdict == "promote"  # it need not meet floors


def test_a_language_model_must_beat_its_n_gram() -> None:
    """Perplexity: lower is better."""
    spec = RegistrySpec(metric="perplexity", floor="baseline")
    for low, high, verdict in (
        (-9.0, -1.0, "promote"),
        (-9.0, 1.0, "reject"),
        (1.0, 9.0, "reject"),
    ):
        grams = {"perplexity": 100.0, "difference": {"perplexity": {"low": low, "high": high}}}
        baselines = {"unigram": {"perplexity": 900.0}, "5-gram": grams}
        challenger = Figures({"perplexity": 100 + (low + high) / 2}, baselines=baselines)
        found = judge(challenger, None, spec)
        assert found.verdict == verdict
        assert verdict == "promote" or "of its best baseline, 5-gram: " in found.reason


def bits(value: float) -> Figures:
    return Figures({"bits_per_character": value})


def documents(low: float, high: float, p: float = 0.001, **changes: object) -> Evidence:
    middle = (low + high) / 2
    counts = {"only_champion": 10, "only_challenger": 40, "p": p}
    found = Evidence(
        "accuracy", 0.85, 0.85 + middle, low, high, 0.95, DOCUMENTS, 25_000, mcnemar=counts
    )
    return replace(found, **changes)


def segments(low: float, high: float) -> Evidence:
    return Evidence(
        "bits_per_character",
        2.0,
        2 + (low + high) / 2,
        low,
        high,
        0.9,
        SEGMENTS_OF_TEXT,
        550,
        block=7,
    )


@pytest.mark.parametrize(
    ("challenger", "champion", "spec", "verdict", "reason"),
    [
        (accuracy(0.85), None, ACCURACY, "promote", "accuracy 0.85; there was no champion"),
        (accuracy(0.8), None, ACCURACY, "promote", "accuracy 0.8; there was no champion"),
        (accuracy(0.79), None, ACCURACY, "reject", "accuracy 0.79 is below the floor of 0.8"),
        (bits(4.2), None, BITS, "reject", "bits_per_character 4.2 exceeds the limit of 4"),
        (bits(1.9), None, BITS, "promote", "bits_per_character 1.9; there was no champion"),
        (
            accuracy(0.99, sample=True),
            accuracy(0.81, version=2),
            ACCURACY,
            "reject",
            "accuracy 0.99 on the sample text does not count against 0.81 of champion version 2, "
            "which was trained on real text",
        ),
        (
            accuracy(0.81),
            accuracy(0.99, sample=True, version=2),
            ACCURACY,
            "promote",
            "accuracy 0.81 on real text replaces 0.99 of champion version 2, "
            "which was trained on the sample text",
        ),
        (
            accuracy(0.79),
            accuracy(0.99, sample=True, version=2),
            ACCURACY,
            "reject",
            "accuracy 0.79 is below the floor of 0.8",
        ),
        (
            accuracy(0.6, sample=True),
            None,
            ACCURACY,
            "promote",
            "accuracy 0.6 on the sample text; there was no champion",
        ),
        (accuracy(None), None, ACCURACY, "reject", "accuracy was not measured for this model"),
        (
            replace(accuracy(0.99), withdrawn="2026-11-01T02:03:04Z"),
            CHAMPION,
            ACCURACY,
            "reject",
            "accuracy 0.99: this version was rolled back on "
            "2026-11-01T02:03:04Z; promote it by hand to "
            "use it again",
        ),
    ],
)
def test_what_is_decided_without_a_comparison(
    challenger: Figures, champion: Figures | None, spec: RegistrySpec, verdict: str, reason: str
) -> None:
    decided = judge(challenger, champion, spec)
    assert (decided.verdict, decided.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("evidence", "margin", "verdict", "reason"),
    [
        (
            documents(0.01, 0.03),
            0,
            "promote",
            "accuracy 0.87 is better than 0.85 of champion version 3: +0.02 (95% "
            "interval +0.01 to +0.03, "
            "25,000 test documents, McNemar p 0.001)",
        ),
        (
            documents(0.01, 0.03),
            0.005,
            "promote",
            "better than 0.85 of champion version 3 by more than the margin 0.005: +0.02",
        ),
        (
            documents(0.01, 0.03),
            0.02,
            "inconclusive",
            "the difference may be within the margin 0.02: +0.02",
        ),
        (
            documents(0.01, 0.03),
            0.04,
            "inconclusive",
            "the difference is within the margin 0.04: +0.02",
        ),
        (
            documents(-0.03, -0.01),
            0.02,
            "inconclusive",
            "the difference may be within the margin 0.02",
        ),
        (
            documents(-0.03, -0.01),
            0.005,
            "reject",
            "is worse than 0.85 of champion version 3 by more than the margin 0.005: -0.02",
        ),
        (
            documents(-0.01, 0.03),
            0,
            "inconclusive",
            "accuracy 0.86 against 0.85 of champion version 3: the difference "
            "may be due to chance: +0.01 (95% "
            "interval -0.01 to +0.03, 25,000 test documents, McNemar p 0.001)",
        ),
        (
            documents(-0.03, -0.01),
            0,
            "reject",
            "accuracy 0.83 is worse than 0.85 of champion version "
            "3: -0.02 (95% interval -0.03 to -0.01, 25,000 test documents, McNemar p 0.001)",
        ),
        (documents(0, 0), 0, "inconclusive", "the difference may be due to chance: +0"),
        (
            documents(0.3, 0.4, p=0.0),
            0,
            "promote",
            "25,000 test documents, McNemar p below 1e-300)",
        ),
        (
            documents(0.01, 0.03, p=0.06),
            0,
            "inconclusive",
            "McNemar's test does not confirm the difference: +0.02",
        ),
        (
            documents(0.01, 0.03, rescored=True, left_out=12),
            0,
            "promote",
            "than 0.85 of champion "
            "version 3, scored again on this test text: +0.02 (95% interval +0.01 to +0.03, 25,000 "
            "test documents; 12 left out because the champion was trained on them, "
            "McNemar p 0.001)",
        ),
        (
            "it is a language model",
            0,
            "inconclusive",
            "accuracy 0.9 cannot be compared with champion version 3: it is a language model",
        ),
    ],
)
def test_the_evidence_decides(
    evidence: Evidence | str, margin: float, verdict: str, reason: str
) -> None:
    spec = ACCURACY.model_copy(update={"margin": margin})
    decided = judge(accuracy(0.9), CHAMPION, spec, evidence)
    assert decided.verdict == verdict
    assert reason in decided.reason and "\n" not in decided.reason
    assert decided.evidence is (None if isinstance(evidence, str) else evidence)


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (segments(-0.2, -0.1), "promote"),
        (segments(0.1, 0.2), "reject"),
        (segments(-0.1, 0.2), "inconclusive"),
    ],
)
def test_lower_is_better_in_bits(evidence: Evidence, verdict: str) -> None:
    decided = judge(bits(1.9), CHAMPION, BITS, evidence)
    assert decided.verdict == verdict
    assert f"(90% interval {evidence.low:+.4g} to {evidence.high:+.4g}, 550 segments" in (
        decided.reason
    )


def test_the_floor_comes_before_the_evidence() -> None:
    decided = judge(accuracy(0.79), CHAMPION, ACCURACY, documents(0.1, 0.2))
    assert decided.reason == "accuracy 0.79 is below the floor of 0.8"


def test_no_slice_may_fall_below_its_floor() -> None:
    rows = [
        {"slice": "up to 100", "documents": 500, "accuracy": 0.9, "log_loss": 0.3},
        {"slice": "over 400", "documents": 40, "accuracy": 0.7, "log_loss": 0.9},
    ]
    sliced = replace(accuracy(0.9), slices={"length": rows})
    few = replace(accuracy(0.9), slices={"length": [rows[0], rows[1] | {"documents": 29}]})

    def decided(figures: Figures, floors: dict, metric: str = "accuracy") -> tuple[str, str]:
        spec = RegistrySpec(metric=metric, slice_floors=floors)
        found = judge(figures, CHAMPION, spec, documents(0.01, 0.02))
        return found.verdict, found.reason

    assert decided(sliced, {"length": 0.75}) == (
        "reject",
        "accuracy 0.7 on the 40 documents of length over 400 is below the floor of 0.75 for "
        "this slice",
    )
    assert decided(sliced, {"length": {"over 400": 0.75}})[0] == "reject"
    assert decided(sliced, {"length": {"up to 100": 0.75}})[0] == "promote"
    assert decided(sliced, {"length": 0.69})[0] == "promote"
    assert decided(few, {"length": 0.75})[0] == "promote"  # 29 documents are too few to tell
    assert decided(replace(sliced, sample=True), {"length": 0.75})[1].startswith(
        "accuracy 0.9 on the sample text"
    )
    assert (
        "log_loss 0.9 on the 40 documents of length over 400 exceeds"
        in decided(sliced, {"length": 0.5}, "log_loss")[1]
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_never_wins(value: float) -> None:
    spec = RegistrySpec(metric="perplexity")
    champion = Figures({"perplexity": 9.0}, version=1)
    assert judge(Figures({"perplexity": value}), champion, spec).verdict == "reject"
    assert judge(Figures({"perplexity": value}), None, spec).verdict == "reject"


def test_no_class_may_fall_below_its_floor() -> None:
    classes = {"film": (450, 500), "food": (28, 40), "sport": (1, 29), "travel": (0, 0)}
    known = replace(accuracy(0.9), classes=classes)

    def decided(floors: float | dict[str, float], figures: Figures = known) -> tuple[str, str]:
        spec = RegistrySpec(metric="accuracy", class_floor=floors)
        found = judge(figures, CHAMPION, spec, documents(0.01, 0.02))
        return found.verdict, found.reason

    below = "recall 0.7 on the 40 documents of class food is below the floor of 0.75 for it"
    assert decided(0.75) == decided({"food": 0.75}) == ("reject", below)
    assert decided(0.7)[0] == "promote"  # sport has too few documents to tell
    assert decided({"film": 0.9})[0] == "promote"
    missing = "there is a floor for the recall of class art, which is not a label"
    assert decided({"art": 0.1}) == ("reject", missing)
    assert decided(0.75, replace(known, sample=True))[1].startswith("accuracy 0.9 on the sample")


def test_with_manual_approval_a_promotion_waits_and_nothing_else_does() -> None:
    manual = RegistrySpec(metric="accuracy", approval="manual")
    promoted = Verdict("promote", "better")
    assert held(promoted, RegistrySpec(metric="accuracy")) is promoted
    assert held(promoted, manual) == Verdict("waits", "better; it waits for approval")
    rejected = Verdict("reject", "worse")
    assert held(rejected, manual) is rejected
