"""Who becomes champion, and what the verdict says."""

from __future__ import annotations

import pytest

from pipelines.promotion import Figures, decide
from pipelines.spec import RegistrySpec

ACCURACY = RegistrySpec(metric="accuracy", floor=0.8)
BITS = RegistrySpec(metric="bits_per_character", floor=4.0)
NO_FLOOR = RegistrySpec(metric="log_loss")


def accuracy(value: float | None, sample: bool = False, version: int | None = None) -> Figures:
    return Figures({"accuracy": value, "log_loss": 0.5}, sample, version)


def bits(value: float, sample: bool = False, version: int | None = None) -> Figures:
    return Figures({"bits_per_character": value}, sample, version)


@pytest.mark.parametrize(("challenger", "champion", "spec", "verdict", "reason"), [
    (accuracy(0.85), None, ACCURACY, "promote", "accuracy 0.85, and there was no champion"),
    (accuracy(0.8), None, ACCURACY, "promote", "accuracy 0.8, and there was no champion"),
    (accuracy(0.79), None, ACCURACY, "reject", "accuracy 0.79 is under the floor 0.8"),
    (bits(4.2), None, BITS, "reject", "bits_per_character 4.2 is over the floor 4"),
    (bits(1.9), None, BITS, "promote", "bits_per_character 1.9, and there was no champion"),
    (accuracy(0.86), accuracy(0.85, version=3), ACCURACY, "promote",
     "accuracy 0.86 is better than 0.85 of champion version 3"),
    (accuracy(0.85), accuracy(0.85, version=3), ACCURACY, "reject",
     "accuracy 0.85 is not better than 0.85 of champion version 3"),
    (bits(1.9), bits(2.0, version=7), BITS, "promote",
     "bits_per_character 1.9 is better than 2 of champion version 7"),
    (bits(2.1), bits(2.0, version=7), BITS, "reject",
     "bits_per_character 2.1 is not better than 2 of champion version 7"),
    (accuracy(0.99, sample=True), accuracy(0.81, version=2), ACCURACY, "reject",
     "accuracy 0.99 on the sample text does not count against 0.81 of champion version 2, "
     "which was trained on real text"),
    (accuracy(0.81), accuracy(0.99, sample=True, version=2), ACCURACY, "promote",
     "accuracy 0.81 on real text outranks 0.99 of champion version 2, "
     "which was trained on the sample text"),
    (accuracy(0.79), accuracy(0.99, sample=True, version=2), ACCURACY, "reject",
     "accuracy 0.79 is under the floor 0.8"),
    (accuracy(0.6, sample=True), None, ACCURACY, "promote",
     "accuracy 0.6 on the sample text, and there was no champion"),
    (accuracy(0.7, sample=True), accuracy(0.6, sample=True, version=1), ACCURACY, "promote",
     "accuracy 0.7 is better than 0.6 of champion version 1"),
    (accuracy(0.7), accuracy(None, version=1), RegistrySpec(metric="accuracy"), "reject",
     "accuracy 0.7 has nothing to be compared with: accuracy was not measured on champion "
     "version 1"),
    (accuracy(None), None, ACCURACY, "reject", "accuracy was not measured on this model"),
    (accuracy(0.7), accuracy(0.9, version=1), NO_FLOOR, "reject",
     "log_loss 0.5 is not better than 0.5 of champion version 1"),
])
def test_decide(challenger: Figures, champion: Figures | None, spec: RegistrySpec, verdict: str,
                reason: str) -> None:
    decided = decide(challenger, champion, spec)
    assert (decided.verdict, decided.reason) == (verdict, reason)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_never_wins(value: float) -> None:
    spec = RegistrySpec(metric="perplexity")
    champion = Figures({"perplexity": 9.0}, version=1)
    assert decide(Figures({"perplexity": value}), champion, spec).verdict == "reject"
    assert decide(Figures({"perplexity": value}), None, spec).verdict == "reject"
