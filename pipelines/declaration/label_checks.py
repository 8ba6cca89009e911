"""What a classifier of more than two labels cannot have.

It is refused when the declaration is read, or, if labels are not declared, by the stage that knows
how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.declaration.spec import Spec

FOR_TWO_LABELS = {
    "training.adversarial.kind": "virtual is for two labels; use adversarial",
    "mix": "nb-svm is a weighted sum of two logits, and so for two labels; remove it",
    "evaluation.threshold": "it is for two labels; of more, the most probable is predicted",
    "registry.metric": "roc_auc is for two labels; use macro_f1, accuracy or log_loss",
}


def of_labels(spec: Spec) -> str | None:
    """What the labels that are declared, if they are, do not agree with; None if nothing."""
    labels, floors = spec.corpus.labels or (), spec.registry.class_floor
    for name in floors if isinstance(floors, dict) and labels else ():
        if name not in labels:
            return f"registry.class_floor: {name!r} is not in corpus.labels"
    adversarial = spec.training.adversarial
    used = {
        "training.adversarial.kind": adversarial is not None and adversarial.kind == "virtual",
        "mix": spec.mix is not None,
        "evaluation.threshold": spec.evaluation.threshold != 0.5,
        "registry.metric": spec.registry.metric == "roc_auc",
    }
    wrong = next((key for key, is_used in used.items() if is_used), None)
    return f"{wrong}: {FOR_TWO_LABELS[wrong]}" if wrong and len(labels) > 2 else None
