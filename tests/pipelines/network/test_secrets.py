"""Secrets of source addresses: used where a file is fetched, kept and shown nowhere."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from flows.doctor.exposed_runs import in_database, without_secrets
from flows.parameters import Mirror
from pipelines.audit.difference import _declared
from pipelines.audit.reproduction import reproduce
from pipelines.errors import FolioError, UsageError
from pipelines.network.addresses import config_shown, identity
from pipelines.network.credentials import looked_up_by, refuse_secrets, resolved
from pipelines.registry.references import resolve
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store import manifest
from pipelines.store.artifacts import MANIFEST, Artifact
from pipelines.store.lineage import Graph, stored
from pipelines.store.settings import Settings
from pipelines.upkeep import exposed
from pipelines.upkeep.findings import Finding
from tests.conftest import artifact_of
from tests.pipelines.http_site import BODY, Site, send

DECLARATION = """\
title: Far away
source: {{url: "{url}"{more}}}
corpus: {{reader: text, split: contiguous, validation: 0.1, test: 0.1}}
tokens: {{kind: char}}
batches: {{batch_size: 8, sequence_length: 50}}
model: {{kind: language_model, cell: gru, embedding: 6, units: [11]}}
training: {{epochs: 1}}
registry: {{metric: bits_per_character, floor: 8.0}}
"""
SECRETS = ("annabel", "hush-hush", "qu1etly", "wh1spered")
ONLY_SOURCE = Selection.of("source", None, None)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings.at(tmp_path / "home")


def with_secrets(site: Site, password: str = "hush-hush", token: str = "qu1etly") -> str:
    host = site.address.partition("//")[2]
    return f"http://annabel:{password}@{host}/text.txt?token={token}"


def fetched(url: str, home: Settings, *overrides: str, more: str = "") -> dict[str, object]:
    path = home.home.parent / "far-away.yaml"
    path.write_text(DECLARATION.format(url=url, more=more), encoding="utf-8")
    return retrain_plain(
        str(path), None, overrides, settings=home, selection=ONLY_SOURCE, notice=lambda text: None
    )


def source_of(record: dict[str, object], home: Settings) -> Artifact:
    entry = next(one for one in record["stages"] if one["stage"] == "source")
    return home.store.find("source", entry["key"])


def assert_kept_out_of(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [secret for secret in SECRETS if secret.encode() in data], path


def basic(site: Site) -> list[str]:
    """Who asked, as the server was told."""
    given = [headers.get("Authorization", "").removeprefix("Basic ") for _, headers in site.asked]
    return [base64.b64decode(text).decode() for text in given]


# --- what a run leaves ---------------------------------------------------------------------------


def test_no_file_of_the_home_holds_what_an_address_says_in_secret(
    site: Site, home: Settings
) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, ETag='"1"')]
    record = fetched(with_secrets(site), home)
    assert set(basic(site)) == {"annabel:hush-hush"} and site.asked[0][0].endswith("token=qu1etly")
    assert_kept_out_of(home.home)
    source = source_of(record, home)
    assert source.manifest["config"]["source.url"] == [identity(with_secrets(site))]
    assert source.key == manifest.key_of(source.manifest)
    # Another password asks for the same file, another query for another.
    again = fetched(with_secrets(site, password="wh1spered"), home)
    assert source_of(again, home).key == source.key
    other = fetched(with_secrets(site, token="wh1spered"), home)
    assert source_of(other, home).key != source.key
    assert "source.url " in other["stages"][0]["reason"]
    assert_kept_out_of(home.home)


def test_a_failed_download_says_nothing_of_it_either(site: Site, home: Settings) -> None:
    site.replies = [lambda handler: send(handler, 403, b"")]
    with pytest.raises(FolioError, match="answered 403") as failure:
        fetched(with_secrets(site), home, more=f', sha256: "{"0" * 64}"')
    assert not [secret for secret in SECRETS if secret in str(failure.value)]
    assert_kept_out_of(home.home)


def test_references_are_filled_in_by_the_environment(
    site: Site, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, ETag='"1"')]
    host = site.address.partition("//")[2]
    url = f"http://${{WHO}}:${{PASSWORD}}@{host}/text.txt?token=${{TOKEN}}"
    with pytest.raises(FolioError, match=r": \$\{TOKEN\} is not set; set it in the environment"):
        fetched(url, home)
    monkeypatch.setenv("WHO", "annabel")
    monkeypatch.setenv("PASSWORD", "hush-hush/@")
    monkeypatch.setenv("TOKEN", "qu1etly")
    fetched(url, home)
    assert set(basic(site)) == {"annabel:hush-hush/@"}
    assert site.asked[-1][0] == "/text.txt?token=qu1etly"
    assert_kept_out_of(home.home)


def test_netrc_says_user_and_password(
    site: Site, home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login annabel password hush-hush\n", encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    site.replies = [lambda handler: send(handler, 200, BODY, ETag='"1"')]
    fetched(site.url(), home)
    assert set(basic(site)) == {"annabel:hush-hush"}
    assert_kept_out_of(home.home)


def test_references_may_be_answered_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "own")
    known = {"kept:one": "secret/1", "HERE": "other"}
    with looked_up_by(known.get):
        assert resolved("https://${HERE}:${kept:one}@host/x") == "https://own:secret%2F1@host/x"
    with pytest.raises(FolioError, match="kept:one"):
        resolved("https://${kept:one}@host/x")
    monkeypatch.setenv("SIGNATURE", "?a=1&b=%2F")
    assert resolved("https://host/x?${SIGNATURE}") == "https://host/x?a=1&b=%2F"


@pytest.mark.parametrize(
    "override",
    [
        "source.url=https://annabel:hush-hush@host/x",
        "source.url=[https://host/x?t=hush-hush]",
        "source={url: 'https://host/x#hush-hush'}",
        "source.url=https://annabel:hush/hush-hush@host/x",
    ],
)
def test_an_override_with_secrets_is_refused_before_it_is_kept(
    override: str, play: Path, home: Settings
) -> None:
    with pytest.raises(UsageError, match=r"--set source.*write \$\{NAME\}") as failure:
        retrain_plain(str(play), None, (override,), settings=home, notice=lambda text: None)
    assert "hush-hush" not in str(failure.value)
    assert not list(home.runs.folder.glob("*"))
    refuse_secrets(["source.url=https://host/x", "training.epochs=2", "source.url="])


@pytest.mark.parametrize(
    ("mirror", "fine"),
    [
        ("/srv/texts", True),
        ("https://host/texts", True),
        ("https://${WHO}:${PASSWORD}@host/x", True),
        ("https://annabel:hush@host/x", False),
        ("https://host/x?t=hush", False),
        ("https://host/x#hush", False),
    ],
)
def test_prefect_is_called_with_no_mirror_that_holds_secrets(mirror: str, fine: bool) -> None:
    if fine:
        assert TypeAdapter(Mirror).validate_python(mirror) == mirror
    else:
        with pytest.raises(ValidationError):
            TypeAdapter(Mirror).validate_python(mirror)


def test_a_source_is_fetched_again_by_what_its_run_declared(site: Site, home: Settings) -> None:
    """A manifest keeps no query, so a reproduction takes the address from the declaration."""
    site.replies = [lambda handler: send(handler, 200, BODY, ETag='"1"')]
    record = fetched(with_secrets(site), home)
    source = source_of(record, home)
    (source.path / "text.txt").write_bytes(b"x" * len(BODY))
    asked, said = len(site.asked), []
    again = reproduce(
        resolve(record["run"], home), home, home.home.parent / "again", "source", notice=said.append
    )
    assert again["agrees"] and "fetching it again" in said[0] and len(site.asked) > asked
    assert site.asked[-1][0].endswith("token=qu1etly")
    assert_kept_out_of(home.home.parent / "again")
    path = Path(record["declared"])
    path.write_text(path.read_text(encoding="utf-8").replace("qu1etly", "wh1spered"))
    with pytest.raises(FolioError, match="its manifest has no query of the address"):
        reproduce(
            resolve(record["run"], home),
            home,
            home.home.parent / "other",
            "source",
            notice=said.append,
        )


# --- homes made before ---------------------------------------------------------------------------


def as_before(home: Settings, url: str) -> Path:
    """The source of tiny-play as it was published before addresses were kept out: unsealed."""
    source = artifact_of(Settings.at(home.home), "tiny-play", "source")  # held by no store of ours
    old = {name: value for name, value in source.manifest.items() if name != manifest.SEAL}
    old["config"] = old["config"] | {"source.url": [url]}
    old["key"] = manifest._unsealed_key_of(old)
    folder = source.path.rename(source.path.with_name(old["key"]))
    (folder / MANIFEST).write_text(manifest.text_of(old), encoding="utf-8")
    return folder


URL = "https://annabel:hush-hush@host/play.txt?token=qu1etly"


@pytest.fixture
def old(trained: Settings, tmp_path: Path) -> tuple[Settings, Path]:
    shutil.copytree(trained.home, tmp_path / "home")
    home = Settings.at(tmp_path / "home")
    folder = as_before(home, URL)
    path = next(path for path in home.runs.folder.glob("*.json") if "play" in path.name)
    record = json.loads(path.read_text(encoding="utf-8"))
    record["overrides"] = [f"source.url={URL}", "training.epochs=2"]
    record["stages"][0]["reason"] = f"source.url unset → ['{URL}']"[:60] + "…"
    path.write_text(json.dumps(record), encoding="utf-8")
    return home, folder


def problems(home: Settings) -> list[Finding]:
    return [one for one in exposed.secrets(home) if one.state == "problem"]


def test_old_homes_are_named_cleaned_and_still_whole(old: tuple[Settings, Path]) -> None:
    home, folder = old
    found = problems(home)
    assert len(found) == 2 and str(folder) in found[0].text
    assert not [one for one in found for secret in SECRETS if secret in f"{one.text}{one.remedy}"]
    assert all("change the password" in one.remedy for one in found)
    for one in found:
        said = one.repair()
        assert "removed the secrets" in said, said
    assert [one.state for one in exposed.secrets(home)] == ["ok"]
    assert_kept_out_of(home.home)
    source = next(
        one
        for one in stored(home.store, "source")
        if one.manifest["config"]["source.url"] == [identity(URL)]
    )
    assert home.store.damage(source) is None and source.key == manifest.key_of(source.manifest)
    corpus = artifact_of(home, "tiny-play", "corpus")
    assert Graph(stored(home.store)).made_of(corpus)["source"].key == source.key
    record = next(one for one in home.runs if one["overrides"])
    assert record["overrides"] == ["training.epochs=2"]
    assert record["stages"][0]["reason"] == "source.url changed"


def test_what_a_run_uses_is_left(old: tuple[Settings, Path]) -> None:
    home, folder = old
    one = problems(home)[0]
    assert home.store.hold(home.store.find("source", folder.name))
    assert "which a run is using" in one.repair() and folder.is_dir()


def test_a_changed_manifest_gets_no_seal(old: tuple[Settings, Path]) -> None:
    home, folder = old
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(text.replace('"version": ', '"version": 1'), encoding="utf-8")
    assert home.store.find("source", folder.name) is None
    assert "skipped" in problems(home)[0].repair() and folder.is_dir()
    home.store.set_aside("source", folder.name)
    for one in problems(home):
        one.repair()
    assert_kept_out_of(home.home)


def test_old_manifests_are_shown_without_secrets(old: tuple[Settings, Path]) -> None:
    home, folder = old
    source = home.store.find("source", folder.name)
    told = [
        Graph(stored(home.store)).described(source),
        _declared({"source": source.manifest}),
        config_shown(source.manifest["config"]),
    ]
    assert not [secret for secret in SECRETS if secret in json.dumps(told)]


def test_flow_runs_with_secrets_are_found_in_the_database(tmp_path: Path) -> None:
    assert without_secrets(
        {
            "mirror": "https://annabel:hush-hush@host/x",
            "overrides": ["source.url=https://host/x?qu1etly", "training.epochs=2"],
            "pipeline": "imdb",
        }
    ) == {"mirror": "https://host/x", "overrides": ["training.epochs=2"], "pipeline": "imdb"}
    assert without_secrets({"mirror": "/srv", "overrides": ["training.epochs=2"]}) is None
    assert in_database(tmp_path) == []
    (tmp_path / "prefect").mkdir()
    with closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:
        database.execute("create table flow_run (name text, parameters json)")
        database.executemany(
            "insert into flow_run values (?, ?)",
            [("clean", "{}"), ("shown", json.dumps({"mirror": "https://host/x?token=qu1etly"}))],
        )
        database.commit()
    assert in_database(tmp_path) == ["shown"]
