"""A network of a user's own is trained like Folio's if it fits, and else refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import FolioError
from pipelines.model.keras_file import load_model
from pipelines.model.own.contract import contract, declared_contract
from tests.pipelines.model.test_stage import CLASSIFIER, WRITER, batches, train

pytestmark = pytest.mark.slow

__all__ = ["batches"]
NETWORKS = "tests.pipelines.model.own.networks"
OURS = {
    "classifier": CLASSIFIER.model_copy(update={"builder": f"{NETWORKS}:mean"}),
    "language_model": WRITER.model_copy(
        update={"builder": f"{NETWORKS}:recurrent", "stateful": False}
    ),
}


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize(
    "kind", ["classifier", pytest.param("language_model", marks=pytest.mark.long)]
)
def test_it_learns_and_is_the_same_each_time(
    tmp_path: Path, batches: dict[str, Path], kind: str
) -> None:
    """Whatever others draw meanwhile."""
    models = []
    for name in ("one", "two"):
        counts = train(tmp_path / name, batches[kind], OURS[kind])
        models.append((tmp_path / name / "out" / "model.keras").read_bytes())
        assert not list((tmp_path / name / "scratch").glob("trial*"))
    assert models[0] == models[1] and counts["best"]["validation_loss"] < 3.7
    model = load_model(tmp_path / "one" / "out" / "model.keras")
    [size] = {one.input_dim for one in model.layers if hasattr(one, "input_dim")}
    assert contract(model) == declared_contract(OURS[kind], size)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "returned NoneType, not a keras.Model"),
        ("failing", r"tests/pipelines/model/own/networks.py:\d+: AttributeError: 'ModelSpec'"),
        ("two_logits", r"its output is float32 \(None, 2\), not float32 \(None, 1\)"),
        ("without_length", r"its input length is missing, not int32 \(None,\)"),
        ("listed", "its inputs are no mapping"),
        ("without_seeds", "with the same seed, the layer dropout.* is another each time; give"),
        ("foreign_layer", "Halved is not a part of Keras"),
        ("foreign_activation", "halved is not a part of Keras"),
        ("lambda_layer", "Lambda is not a part of Keras"),
        ("absent", "networks.py has no function absent"),
        ("lambda_layers", "did you mean lambda_layer"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_trained(
    tmp_path: Path, batches: dict[str, Path], function: str, said: str
) -> None:
    spec = CLASSIFIER.model_copy(update={"builder": f"{NETWORKS}:{function}"})
    with pytest.raises(
        FolioError, match=f"^model.builder {NETWORKS}:{function}: .*{said}"
    ) as error:
        train(tmp_path, batches["classifier"], spec)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("section", "key"), [("model", "stateful"), ("model", "start_from"), ("training", "truncate")]
)
def test_what_only_folios_networks_can_is_refused(section: str, key: str) -> None:
    from pipelines.declaration.spec import Spec

    value = {"stateful": True, "start_from": {"pipeline": "other"}, "truncate": 5}[key]
    given = {
        "name": "mine",
        "profile": "full",
        "source": {"path": "x"},
        "corpus": {"reader": "lines", "split": "hash"},
        "tokens": {"kind": "char"},
        "batches": {"layout": "documents"},
        "model": {"kind": "language_model", "builder": "a:b"},
        "training": {},
        "registry": {"metric": "perplexity"},
    }
    given[section] = given[section] | {key: value}
    with pytest.raises(ValueError, match=f"{key} is for Folio's own networks"):
        Spec.model_validate(given)


def test_a_reference_is_a_module_and_a_function() -> None:
    for wrong in ("networks", "own/networks.py:build", "own.networks.build", "a b:c", ":c", "a:"):
        with pytest.raises(ValueError, match=r"write mypackage\.module:function, not "):
            ModelSpec(kind="classifier", builder=wrong)
