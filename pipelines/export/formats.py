"""A package's network as a TensorFlow SavedModel or as ONNX, with what turns text into inputs."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import DamagedError, FolioError, UsageError
from pipelines.model.backend import load_keras
from pipelines.serving.networks import keras_network
from pipelines.serving.package import SETTINGS, VOCABULARY, Package

if TYPE_CHECKING:
    import keras

MLFLOW, LIGHT, SAVEDMODEL, ONNX = FORMATS = ("mlflow", "light", "savedmodel", "onnx")
FILES = {SAVEDMODEL: "saved_model", ONNX: "model.onnx"}
CLASSIFIER_OUTPUT, NEXT = "logit", "next_"
OPSET = 18  # of ONNX: the newest that tf2onnx writes
LOADS = {
    SAVEDMODEL: (
        "tensorflow",
        """import numpy as np
import tensorflow as tf

network = tf.saved_model.load("saved_model").signatures["serving_default"]
inputs = {INPUTS}
outputs = {name: value.numpy() for name, value in network(**inputs).items()}""",
        "tf.constant({})",
    ),
    ONNX: (
        "onnxruntime",
        """import numpy as np
import onnxruntime

network = onnxruntime.InferenceSession("model.onnx")
inputs = {INPUTS}
names = [output.name for output in network.get_outputs()]
outputs = dict(zip(names, network.run(names, inputs)))""",
        "{}",
    ),
}
README = """# {title}

The network alone, which needs no Folio. `pip install {library} numpy`, then in this folder:

```python
{code}
for name, value in outputs.items():
    print(name, value.shape, value.ravel()[:5])
```

- `tokens` (texts, longest): the ids of each text, padded with any id. `length` (texts,): how many
  of them are the text's.
{kind}
- `vocabulary/`: a token's id is its line in `tokens.tsv`, counted from 0; `settings.json` says how
  a text is split. `package.json`: how many tokens are read and which end is kept, the labels, the
  calibration.
"""
CLASSIFIER = """- `logit`: {labels} {mixed}"""
TWO = "the probability of `{}` is `1 / (1 + exp(-logit / {}))`, and it is predicted above {}."
MANY = "the probabilities of {} are `softmax(logit / {})`."
WRITER = """- `logits` (texts, longest, tokens): `softmax(logits)` are the probabilities of the next
  token after each. `state_0` and so on: zeros for a new text; to continue it, `next_state_0`."""
MIXED = "Folio also mixes it with a counting model, which is not part of this."


def write_format(folder: Path, package: Path, kind: str, title: str) -> None:
    """The network of the package in `package`, in the new folder `folder`. Raises UsageError if a
    library is missing, FolioError if the network cannot be written so."""
    _require(kind)
    read = _read(package)
    network = keras_network(read)
    folder.mkdir(parents=True)
    write = {SAVEDMODEL: _write_savedmodel, ONNX: _write_onnx}[kind]
    try:
        write(network, folder / FILES[kind])
    except Exception as error:  # TensorFlow's and tf2onnx's own are of many kinds
        raise FolioError(f"{title}: its network cannot be written as {kind}: {error}") from error
    shutil.copytree(package / VOCABULARY, folder / VOCABULARY)
    shutil.copyfile(package / SETTINGS, folder / SETTINGS)
    (folder / "README.md").write_text(_readme(read, network, kind, title), encoding="utf-8")


def _require(kind: str) -> None:
    for name in ("tf2onnx", "onnx") if kind == ONNX else ():
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"--format onnx needs {name}: pip install 'folio[onnx]'")


def _read(folder: Path) -> Package:
    load_keras("tensorflow")
    try:
        package = Package.read(folder)
    except DamagedError as error:
        raise FolioError(f"{folder}: not a complete model package ({error})") from error
    if package.spec.builder is not None:
        raise FolioError(
            f"{package.settings.pipeline}: model.builder makes its network, which only Keras and "
            "that function can load; export it without --format"
        )
    return package


def _function(network: keras.Model) -> tuple[Any, list[Any]]:
    """The network as a function of its named inputs, with named outputs."""
    import tensorflow as tf

    signature = [
        tf.TensorSpec(one.shape, one.dtype, one.name)
        for one in sorted(network.inputs, key=lambda one: one.name)
    ]

    def answer(*values: Any) -> dict[str, Any]:
        given = {spec.name: value for spec, value in zip(signature, values, strict=True)}
        return named(network(given, training=False))

    return tf.function(answer, input_signature=signature), signature


def named(outputs: Any) -> dict[str, Any]:
    """What a network gives, under names that no input has: ONNX has one name space."""
    if not isinstance(outputs, dict):
        return {CLASSIFIER_OUTPUT: outputs}
    return {
        NEXT + name if name.startswith("state_") else name: one for name, one in outputs.items()
    }


def _write_savedmodel(network: keras.Model, path: Path) -> None:
    import tensorflow as tf

    function, _ = _function(network)
    module = tf.Module()
    module.variables_of_it = network.variables  # what the function reads must hang on the module
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})
    (path / "fingerprint.pb").unlink(missing_ok=True)  # random, and only for TensorFlow's logs


def _write_onnx(network: keras.Model, path: Path) -> None:
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    function, signature = _function(network)
    tf2onnx.convert.from_function(
        function, input_signature=signature, opset=OPSET, output_path=str(path)
    )


def _readme(package: Package, network: keras.Model, kind: str, title: str) -> str:
    library, code, given = LOADS[kind]
    lines = [f'    "{name}": {given.format(value)},' for name, value in _example(network).items()]
    return README.format(
        title=title,
        library=library,
        code=code.replace("{INPUTS}", "\n".join(["{", *lines, "}"])),
        kind=_of_kind(package),
    )


def _example(network: keras.Model) -> dict[str, str]:
    found = {
        "tokens": "np.array([[2, 3, 4], [5, 6, 0]], np.int32)",
        "length": "np.array([3, 2], np.int32)",
    }
    states = [one for one in network.inputs if one.name not in found]
    return found | {
        one.name: f"np.zeros((2, {one.shape[1]}), np.float32)"
        for one in sorted(states, key=lambda one: one.name)
    }


def _of_kind(package: Package) -> str:
    settings = package.settings
    if settings.kind == "language_model":
        return WRITER + (f" {MIXED}" if settings.mix else "")
    scaling = settings.calibration
    heat, threshold = (scaling.temperature, scaling.threshold) if scaling else (1.0, 0.5)
    names = [json.dumps(label, ensure_ascii=False) for label in settings.labels]
    two = len(names) == 2
    said = TWO.format(names[1], heat, threshold) if two else MANY.format(", ".join(names), heat)
    return CLASSIFIER.format(labels=said, mixed=MIXED if settings.mix else "").rstrip()
