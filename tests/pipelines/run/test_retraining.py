"""Runs of the first stages without Prefect: records, selections, the sample, what went wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.files.home import home_folder
from pipelines.files.machine import one_line
from pipelines.run.execute import execute_stage, git_commit
from pipelines.run.options import RunOptions, Selection
from pipelines.run.retraining import Retraining, retrain_plain
from pipelines.stages import stage_named
from pipelines.store.artifacts import MANIFEST
from pipelines.store.live_runs import live_runs
from pipelines.store.settings import Settings
from tests.conftest import PLAY, PROJECT
from tests.plain_stages import NAMES

FIRST = Selection(stages=("source", "corpus"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.at(tmp_path / "home")


def test_a_record_says_what_was_made_and_then_that_nothing_was_to_do(
    settings: Settings, play: Path
) -> None:
    said: list[str] = []
    made = retrain_plain(str(play), settings=settings, selection=FIRST, notice=said.append)
    again = retrain_plain(str(play), settings=settings, selection=FIRST, notice=said.append)
    assert list(made) == [
        "run",
        "pipeline",
        "profile",
        "overrides",
        "declared",
        "sample",
        "started",
        "attempt",
        "state",
        "seconds",
        "stages",
        "metrics",
        "baseline",
        "mix",
        "version",
        "verdict",
        "reason",
        "report",
        "stale",
        "drift",
        "error",
    ]
    assert (made["pipeline"], made["profile"], made["state"]) == ("tiny-play", "full", "done")
    assert [(e["stage"], e["action"], e["reason"]) for e in made["stages"]] == [
        ("source", "run", "not built yet"),
        ("corpus", "run", "not built yet"),
    ]
    assert again["state"] == "nothing-to-do"
    for first, second in zip(made["stages"], again["stages"], strict=True):
        assert (second["action"], second["key"]) == ("reuse", first["key"])
        assert settings.store.open(first["stage"], first["key"]).path == Path(second["path"])
    assert [record["run"] for record in settings.runs if record == again] == [again["run"]]
    assert said[2:] == [
        "tiny-play · source: reused (nothing changed)",
        "tiny-play · corpus: reused (nothing changed)",
    ]


def test_a_record_says_what_was_asked_for(
    settings: Settings, play: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(play.parent)
    record = retrain_plain(
        f"./{play.name}",
        "full",
        ("seed=7",),
        settings=settings,
        selection=FIRST,
        notice=lambda text: None,
    )
    assert record["declared"] == str(play) and record["overrides"] == ["seed=7"]
    with pytest.raises(UnreachableError):
        retrain_plain(
            "words", settings=Settings.at(settings.home, offline=True), notice=lambda text: None
        )
    assert settings.runs.get("latest")["declared"] == "words"


def test_manifests_say_where_an_artifact_came_from(settings: Settings, play: Path) -> None:
    record = retrain_plain(
        str(play),
        "full",
        ("seed=7",),
        settings=settings,
        selection=FIRST,
        run="my-run",
        notice=lambda text: None,
    )
    manifest = settings.store.open("corpus", record["stages"][1]["key"]).manifest
    assert {name: manifest[name] for name in ("pipeline", "profile", "seed", "sample", "run")} == {
        "pipeline": "tiny-play",
        "profile": "full",
        "seed": 7,
        "sample": False,
        "run": "my-run",
    }
    assert manifest["git_commit"] == git_commit()


def test_the_git_commit_is_the_one_checked_out() -> None:
    done = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert git_commit() == (done.stdout.strip() if done.returncode == 0 else None)


def test_repeating_a_stage_needs_what_lies_above_it(settings: Settings, play: Path) -> None:
    later = Selection.of(only="corpus")
    with pytest.raises(
        UsageError, match=r"there is no source artifact .*not built yet.*--only/--from"
    ):
        retrain_plain(str(play), settings=settings, selection=later, notice=lambda text: None)
    retrain_plain(str(play), settings=settings, selection=FIRST, notice=lambda text: None)
    record = retrain_plain(str(play), settings=settings, selection=later, notice=lambda text: None)
    assert [(e["stage"], e["action"]) for e in record["stages"]] == [
        ("source", "reuse"),
        ("corpus", "run"),
    ]


def test_a_failed_stage_is_in_the_record_and_its_error_reaches_the_caller(
    settings: Settings, play: Path
) -> None:
    with pytest.raises(FolioError) as caught:
        retrain_plain(
            str(play),
            "full",
            ("corpus.start=nowhere to be found",),
            settings=settings,
            selection=FIRST,
            notice=lambda text: None,
        )
    record = settings.runs.get("latest")
    assert (record["state"], record["error"]) == ("failed", str(caught.value))
    assert [e["action"] for e in record["stages"]] == ["run", "failed"]
    assert record["stages"][1]["reason"] == record["error"]


def test_a_wrong_declaration_leaves_no_record(settings: Settings) -> None:
    with pytest.raises(UsageError, match="unknown pipeline"):
        retrain_plain("macbeth", settings=settings)
    assert list(settings.runs) == []


def far(tmp_path: Path, sample: str) -> Path:
    path = tmp_path / "far.yaml"
    text = PLAY.replace(
        "{{path: {samples}/play.txt}}", "{{url: 'http://127.0.0.1:1/play.txt'" + sample + "}}"
    )
    path.write_text(text.format(), encoding="utf-8")
    return path


def test_the_sample_stands_in_only_when_allowed_and_declared(
    settings: Settings, tmp_path: Path
) -> None:
    offline = dataclasses.replace(settings, offline=True)
    allowed = dataclasses.replace(offline, allow_sample=True)
    declared = str(far(tmp_path, ", sample: data/samples/play.txt"))
    said: list[str] = []
    with pytest.raises(UnreachableError):
        retrain_plain(declared, settings=offline, selection=FIRST, notice=said.append)
    assert said == []
    record = retrain_plain(declared, settings=allowed, selection=FIRST, notice=said.append)
    assert record["sample"] and record["state"] == "done"
    assert said[0].startswith("WARNING: http://127.0.0.1:1/play.txt: --offline forbids")
    assert "SAMPLE" in said[1]
    with pytest.raises(UnreachableError):
        retrain_plain(str(far(tmp_path, "")), settings=allowed, selection=FIRST, notice=said.append)


def test_a_stage_can_be_repeated_on_the_sample(settings: Settings, tmp_path: Path) -> None:
    allowed = dataclasses.replace(settings, offline=True, allow_sample=True)
    declared = str(far(tmp_path, ", sample: data/samples/play.txt"))
    retrain_plain(declared, settings=allowed, selection=FIRST, notice=lambda text: None)
    record = retrain_plain(
        declared, settings=allowed, selection=Selection.of(only="corpus"), notice=lambda text: None
    )
    assert record["sample"] and [e["action"] for e in record["stages"]] == ["reuse", "run"]


def test_an_interruption_is_recorded_and_goes_on(settings: Settings, play: Path) -> None:
    def interrupted(run: Retraining) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Retraining(str(play), settings=settings) as run:
        run.stage("source", interrupted)
    record = settings.runs.get("latest")
    assert (record["state"], record["error"]) == ("failed", "interrupted")


def test_a_record_that_cannot_be_written_hides_no_other_error(
    settings: Settings, play: Path
) -> None:
    said: list[str] = []
    with (
        pytest.raises(ZeroDivisionError),
        Retraining(str(play), settings=settings, notice=said.append),
    ):
        spoil(settings.runs.folder)
        raise ZeroDivisionError
    assert "record could not be written" in said[-1]


def test_a_run_that_cannot_be_recorded_does_not_begin(settings: Settings, play: Path) -> None:
    spoil(settings.runs.folder)
    with pytest.raises(FolioError, match="record could not be written"):
        retrain_plain(str(play), settings=settings, selection=FIRST, notice=lambda text: None)
    assert not settings.store.root.exists()


def spoil(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the folder should be")


def test_a_run_is_known_while_it_goes_on(settings: Settings, play: Path) -> None:
    with Retraining(
        str(play), RunOptions("full", ("seed=3",), run="now"), settings=settings
    ) as retraining:
        (live,) = live_runs(settings.runs.folder)
        assert (live["run"], live["overrides"]) == ("now", ["seed=3"])
        retraining.stage("source", lambda run: run.execute("source", ()))
    assert live_runs(settings.runs.folder) == []


def test_figures_come_from_what_the_stages_wrote(trained: Settings) -> None:
    record = next(record for record in trained.runs if record["pipeline"] == "tiny-reviews")
    paths = {entry["stage"]: Path(entry["path"]) for entry in record["stages"]}
    metrics = json.loads((paths["metrics"] / "metrics.json").read_bytes())
    release = json.loads((paths["release"] / "release.json").read_bytes())
    assert record["metrics"] == metrics["headline"] and record["metrics"]
    assert (record["version"], record["verdict"]) == (release["version"], release["verdict"])
    assert Path(record["report"]).is_file()


def test_an_error_is_one_line() -> None:
    assert one_line(UsageError("what to do")) == "what to do"
    assert one_line(ValueError("first\nsecond")) == "ValueError: first"
    assert one_line(ZeroDivisionError()) == "ZeroDivisionError: no message"
    assert one_line(SystemExit(143)) == one_line(KeyboardInterrupt()) == "interrupted"


def test_home_is_the_environments_or_the_projects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path))
    assert home_folder() == tmp_path
    monkeypatch.delenv("FOLIO_HOME")
    assert home_folder() == PROJECT / "data"


def test_what_was_made_before_there_was_a_shared_store_is_published_there(
    tmp_path: Path, play: Path
) -> None:
    def corpus(home: str, remote: str | None) -> dict[str, str]:
        record = retrain_plain(
            str(play),
            settings=Settings.at(tmp_path / home, remote),
            selection=Selection.of(until="corpus"),
            notice=lambda text: None,
        )
        return {entry["stage"]: entry["action"] for entry in record["stages"]}

    shared = f"file://{tmp_path / 'shared'}"
    assert corpus("first", None) == {"source": "run", "corpus": "run"}
    assert not (tmp_path / "shared").exists()
    for home in ("first", "second"):
        assert corpus(home, shared) == {"source": "reuse", "corpus": "reuse"}


@pytest.fixture
def twice(trained: Settings, play: Path, tmp_path: Path) -> tuple[Settings, dict[str, Any]]:
    """A home in which the play was trained with another seed since, and its first run."""
    shutil.copytree(trained.home, tmp_path / "home")
    settings = Settings.at(tmp_path / "home")
    first = next(record for record in settings.runs if record["pipeline"] == "tiny-play")
    retrain_plain(str(play), overrides=("seed=2",), settings=settings, notice=lambda text: None)
    return settings, first


def keys(record: dict[str, Any]) -> dict[str, str]:
    return {entry["stage"]: entry["key"] for entry in record["stages"]}


@pytest.mark.long
def test_an_old_model_is_evaluated_again_with_all_that_it_had(
    twice: tuple[Settings, dict[str, Any]], play: Path
) -> None:
    settings, first = twice
    said: list[str] = []
    again = retrain_plain(
        str(play),
        settings=settings,
        using=first["run"],
        selection=Selection.of("metrics"),
        notice=said.append,
    )
    apart = ("release", "report")  # which has no verdict now
    assert keys(again).keys() == keys(first).keys() - {"release"}
    assert keys(again).items() >= {one for one in keys(first).items() if one[0] not in apart}
    assert again["metrics"] == first["metrics"] and again["stale"] == []
    assert f"tiny-play · model: reused (from run {first['run']})" in said
    assert again["stages"][-1]["action"] == "run"


@pytest.mark.long
def test_an_earlier_run_is_for_a_stage_of_its_own_pipeline(
    twice: tuple[Settings, dict[str, Any]], play: Path, reviews: Path
) -> None:
    settings, first = twice
    metrics = Selection.of("metrics")
    for pipeline, using, selection, message in (
        (play, first["run"], Selection(), "--only or --from"),
        (reviews, first["run"], metrics, "a run of tiny-play, not of tiny-reviews"),
        (play, "2020", metrics, "no run named '2020'"),
    ):
        with pytest.raises(UsageError, match=message):
            Retraining(
                str(pipeline), RunOptions(using=using, selection=selection), settings=settings
            )
    model = settings.store.open("model", keys(first)["model"])
    (model.path / "model.keras").unlink()
    with pytest.raises(FolioError, match=r"model\.keras is missing"):
        retrain_plain(
            str(play),
            settings=settings,
            using=first["run"],
            selection=metrics,
            notice=lambda text: None,
        )


def test_what_lies_below_a_repeated_stage_is_said_to_be_stale(
    trained: Settings, play: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.home, tmp_path / "home")
    said: list[str] = []
    settings, tokens = Settings.at(tmp_path / "home"), Selection.of("tokens")
    same = retrain_plain(str(play), settings=settings, selection=tokens, notice=said.append)
    assert same["stale"] == [] and "no longer" not in said[-1]
    other = retrain_plain(
        str(play),
        overrides=("tokens.lower=true",),
        settings=settings,
        selection=tokens,
        notice=said.append,
    )
    assert other["stale"] == ["batches", "model", "metrics", "release", "report"]
    assert said[-1].startswith("tiny-play: batches, model, metrics, release, report are no")


@pytest.mark.long
def test_equal_keys_are_equal_bytes_in_every_home(
    trained: Settings, play: Path, tmp_path: Path
) -> None:
    """Elsewhere, at another time, under another name: what is in the artifacts says none of it."""
    declared = shutil.copyfile(play, tmp_path / "another-name.yaml")
    elsewhere = Settings.at(tmp_path / "some" / "where" / "else")
    made = retrain_plain(
        str(declared),
        settings=elsewhere,
        notice=lambda text: None,
        selection=Selection.of(until="metrics"),
    )
    first = next(one for one in trained.runs if one["pipeline"] == "tiny-play")
    for one, other in zip(first["stages"][:6], made["stages"][:6], strict=True):
        assert one["key"] == other["key"]
        files = [
            {
                str(path.relative_to(folder)): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file() and path.name != MANIFEST
            }
            for folder in (Path(one["path"]), Path(other["path"]))
        ]
        assert files[0].keys() == files[1].keys()
        assert [name for name in files[0] if files[0][name] != files[1][name]] == []
    assert "metrics.json" in files[0]
    assert [one["stage"] for one in made["stages"]] == [*NAMES[:6], "report"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("letters", "kind"), [("a word of it ", "char"), ("a word of it ", "word"), ("a", "char")]
)
def test_a_text_in_one_line_becomes_batches_in_bounded_time(
    settings: Settings, declare, letters: str, kind: str
) -> None:
    """4 MB here, for 100: the processor time of the data stages grows with the text, not faster."""
    path = declare("one-line", PLAY)
    text = path.parent / "line.txt"
    text.write_text(letters * (4_000_000 // len(letters)))
    given = [f"source.path={text}", f"tokens.kind={kind}", "batches.batch_size=512"]
    selection = Selection(stages=("source", "corpus", "tokens", "batches"))
    began = time.process_time()
    record = retrain_plain(str(path), None, tuple(given), settings=settings, selection=selection)
    assert [one["action"] for one in record["stages"]] == ["run"] * 4
    assert time.process_time() - began < 20


@pytest.mark.parametrize("maker", ["the run itself", "another"])
def test_what_another_process_was_asked_for_may_be_of_another_run(
    settings: Settings, play: Path, maker: str
) -> None:
    """Two runs order the same training: one of them trains, and each says which it was."""
    only = Selection(stages=("source",))
    with Retraining(str(play), RunOptions(selection=only), settings=settings) as run:
        made_by = run.run if maker == "the run itself" else "another"

        def elsewhere(_: object) -> None:
            execute_stage(stage_named("source"), run.spec, {}, settings, only, made_by)

        run.stage("source", lambda run: run.execute_elsewhere("source", (), elsewhere))
    (stage,) = run.record["stages"]
    expected = ("reuse", "built by another run in the meantime")
    if maker == "the run itself":
        expected = ("run", "not built yet")
    assert (stage["action"], stage["reason"]) == expected
