"""Tiny models are made once more, bit for bit; what was not as it was then is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit import reproduction
from pipelines.audit.rebuilt import Rebuilt, why
from pipelines.audit.reproduction import reproduce, spec_from
from pipelines.declaration.spec import operational, plain
from pipelines.errors import FolioError, UsageError
from pipelines.registry.references import resolve
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import Artifact
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, artifact_of, rewritten, spec_of
from tests.plain_stages import STAGES

pytestmark = pytest.mark.slow

Manifest = dict[str, Any]


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(trained.home, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def rewrite(home: Settings, stage: str, change: Callable[[Manifest], None]) -> Artifact:
    """Change the manifest of a stage of the tiny play, as if it had been made otherwise."""
    return rewritten(home, "tiny-play", stage, change)


def other_bytes(manifest: Manifest) -> None:
    """Its first data file was another then."""
    name = next(name for name in manifest["files"] if name.endswith(".parquet"))
    manifest["files"][name]["sha256"] = "0" * 64


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize(
    "pipeline", [pytest.param("tiny-reviews", marks=pytest.mark.long), "tiny-play"]
)
def test_every_stage_comes_out_bit_for_bit(
    trained: Settings, tmp_path: Path, pipeline: str
) -> None:
    said: list[str] = []
    found = reproduce(
        resolve(f"{pipeline}@champion", trained), trained, tmp_path, notice=said.append
    )
    assert found["agrees"] and found["first"] is None and found["why"] is None, found
    assert [one["stage"] for one in found["stages"]] == [
        "source",
        "corpus",
        "tokens",
        "batches",
        "model",
        "metrics",
    ]
    for one in found["stages"]:
        assert one["agrees"] and one["files"] == one["changed"] == []
        assert one["old"] == one["new"]
    assert all(row["delta"] == 0 for row in found["metrics"]) and found["metrics"]
    original = artifact_of(trained, pipeline, "model")
    again = next((tmp_path / "store" / "model").glob("[0-9a-f]*"))
    assert (again / "model.keras").read_bytes() == (original.path / "model.keras").read_bytes()
    assert [line.split(":")[0] for line in said] == [one["stage"] for one in found["stages"]]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "mlflow").exists()


def test_the_manifests_decide_and_not_the_declaration_of_today(
    home: Settings, tmp_path: Path, play: Path
) -> None:
    """The version was made with settings that the file does not have."""
    record = retrain_plain(
        str(play),
        None,
        ("tokens.lower=true", "seed=7"),
        settings=home,
        selection=Selection.of(until="batches"),
        notice=lambda text: None,
    )
    reference = resolve(record["run"], home)
    found = reproduce(reference, home, tmp_path / "again", "batches")
    assert found["agrees"] and len(found["stages"]) == 4 and found["metrics"] == []
    assert found["stages"][2]["new"] != artifact_of(home, "tiny-reviews", "tokens").digest
    for manifest in reference.manifests(home).values():
        if manifest["stage"] != "source":
            assert spec_from(manifest).seed == 7


def test_every_stage_sees_what_it_saw_then(trained: Settings, reviews: Path) -> None:
    for stage in STAGES[1:6]:
        manifest = artifact_of(trained, "tiny-reviews", stage.name).manifest
        told = {
            key: value
            for key, value in plain(spec_from(manifest).select(stage.config)).items()
            if key not in operational()
        }
        assert told == manifest["config"]
        assert spec_from(manifest).select(stage.config) == spec_of(reviews).select(
            stage.config
        ) or stage.name in ("batches", "metrics")  # which see a part of the model's section


def test_another_library_is_named(home: Settings, tmp_path: Path) -> None:
    def older(manifest: Manifest) -> None:
        other_bytes(manifest)
        manifest["libraries"]["polars"] = "0.1"
        manifest["code"]["pipelines/tokens/stage.py"] = "0" * 64
        manifest["git_commit"] = "f" * 40

    rewrite(home, "tokens", older)
    found = reproduce(resolve("tiny-play@1", home), home, tmp_path / "again", "batches")
    assert not found["agrees"] and found["first"] == "tokens"
    assert "polars 0.1 → " in found["why"] and "pipelines/tokens/stage.py changed" in found["why"]
    assert "commit ffffffffffff → " in found["why"]
    tokens, batches = found["stages"][2:]
    assert not tokens["agrees"] and len(tokens["files"]) == 1 and batches["agrees"]


def test_other_code_with_the_same_bytes_agrees_and_is_named(home: Settings, tmp_path: Path) -> None:
    rewrite(
        home,
        "tokens",
        lambda manifest: manifest["code"].update({"pipelines/tokens/stage.py": "0" * 64}),
    )
    found = reproduce(resolve("tiny-play@1", home), home, tmp_path / "again", "tokens")
    assert found["agrees"]
    assert found["stages"][-1]["changed"] == ["pipelines/tokens/stage.py changed"]


def test_another_device_is_named(home: Settings, tmp_path: Path) -> None:
    def on_gpu(manifest: Manifest) -> None:
        manifest["files"]["model.keras"]["sha256"] = "0" * 64
        manifest["counts"]["device"] = "gpu"

    rewrite(home, "model", on_gpu)
    found = reproduce(resolve("tiny-play@1", home), home, tmp_path / "again", "model")
    assert found["first"] == "model" and found["stages"][4]["files"] == ["model.keras"]
    assert found["why"] == "trained on gpu then, on cpu now"


def test_another_processor_is_named_with_how_far_the_figures_are_apart(
    home: Settings, tmp_path: Path
) -> None:
    def elsewhere(manifest: Manifest) -> None:
        manifest["files"]["model.keras"]["sha256"] = "0" * 64
        (here,) = manifest["counts"]["processors"]
        manifest["counts"]["processors"] = [f"MadeByNobody 1/1 {here.partition(' avx')[2]} amx_x"]

    def measured_elsewhere(manifest: Manifest) -> None:
        manifest["counts"]["perplexity"] *= 1.001

    rewrite(home, "metrics", measured_elsewhere)
    rewrite(home, "model", elsewhere)
    found = reproduce(resolve("tiny-play@1", home), home, tmp_path / "again")
    assert found["first"] == "model"
    said = re.fullmatch(
        r"other processor \(MadeByNobody 1/1 .*→ .*, without amx_x\): bits may differ, "
        r"figures agree within (.*)%",
        found["why"],
    )
    assert said and float(said[1]) == pytest.approx(0.1, abs=0.02), found["why"]


def test_when_nothing_changed_it_is_said_so(home: Settings, tmp_path: Path) -> None:
    rewrite(home, "corpus", other_bytes)
    found = reproduce(resolve("tiny-play@1", home), home, tmp_path / "again", "corpus")
    assert found["first"] == "corpus"
    assert found["why"].endswith("the bytes depend on something that no manifest records")
    model = artifact_of(home, "tiny-play", "model")
    said = why(Rebuilt("model", model, model, [], 1.0))
    assert said.startswith("code, libraries, settings and processor are the same")
    del model.manifest["processor"], model.manifest["counts"]["processors"]  # as earlier versions
    assert why(Rebuilt("model", model, model, [], 1.0)).endswith(
        "most likely another processor rounds sums differently"
    )


def test_a_damaged_source_is_fetched_again(home: Settings, tmp_path: Path) -> None:
    source = artifact_of(home, "tiny-play", "source")
    text = source.path / "play.txt"
    text.write_bytes(text.read_bytes().replace(b"MARIAN", b"MIRIAM"))
    said: list[str] = []
    found = reproduce(
        resolve("tiny-play@1", home), home, tmp_path / "again", "corpus", notice=said.append
    )
    assert found["agrees"]
    assert said[0] == (
        "source: the store's copy is damaged (play.txt is not what was published); "
        "fetching it again"
    )
    assert "fetched again" in found["stages"][0]["remark"]


def elsewhere(home: Settings, path: str) -> None:
    """The source is damaged, and said to have come from another place."""
    source = rewrite(
        home,
        "source",
        lambda manifest: manifest["counts"]["origins"]["play.txt"].update(address=path),
    )
    (source.path / "play.txt").write_bytes(b"gone bad")


def test_a_source_that_is_lost_is_one_line(home: Settings, tmp_path: Path) -> None:
    elsewhere(home, str(tmp_path / "nowhere.txt"))
    with pytest.raises(
        FolioError,
        match=r"the store's copy is damaged \(play.txt is not what was "
        r"published\), and its origin no longer has it: .*nowhere",
    ):
        reproduce(resolve("tiny-play@1", home), home, tmp_path / "again", "corpus")


def test_a_source_with_other_bytes_is_the_first_to_differ(home: Settings, tmp_path: Path) -> None:
    text = (PROJECT / "data" / "samples" / "play.txt").read_text(encoding="utf-8")
    (tmp_path / "play.txt").write_text(text.replace("MARIAN", "MIRIAM"), encoding="utf-8")
    elsewhere(home, str(tmp_path / "play.txt"))
    found = reproduce(resolve("tiny-play@1", home), home, tmp_path / "again", "corpus")
    assert found["first"] == "source" and found["why"] == "play.txt changed"
    assert [one["agrees"] for one in found["stages"]] == [False, False]
    assert found["stages"][1]["changed"] == ["source changed"]


def test_what_cannot_be_made_again_is_one_line(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="contains the artifacts to rebuild"):
        reproduce(resolve("tiny-play@1", home), home, home.home)
    tokens = rewrite(
        home, "tokens", lambda manifest: manifest["config"].update({"tokens.colour": "red"})
    )
    with pytest.raises(
        FolioError,
        match=r"tokens .*: colour: .*declared for another version of Folio: try it "
        "at commit",
    ):
        reproduce(resolve("tiny-play@1", home), home, tmp_path / "again")
    shutil.rmtree(tokens.path)
    with pytest.raises(FolioError, match="tiny-play version 1: its tokens can no longer be found"):
        reproduce(resolve("tiny-play@1", home), home, tmp_path / "again")


def test_a_store_that_others_share_is_not_asked_for_what_is_made_again(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would give back what is to be compared."""
    shared = tmp_path / "shared"
    shutil.copytree(home.home / "store", shared)
    monkeypatch.setenv("FOLIO_STORE", str(shared))
    asked = Settings.at(home.home)
    found = reproduce(resolve("tiny-play@1", asked), asked, tmp_path / "again", "tokens")
    assert found["agrees"] and all(one["seconds"] > 0 for one in found["stages"][1:])
    assert reproduction.Store(tmp_path / "again" / "store").remote is None
    made = artifact_of(home, "tiny-play", "tokens").key
    again = json.loads(
        (tmp_path / "again" / "store" / "tokens" / made / "manifest.json").read_bytes()
    )
    assert again["run"] is None  # no run made it: it is not the one that was shared
