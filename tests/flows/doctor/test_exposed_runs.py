"""What Prefect keeps of a run that had secrets: references, and nothing of what they stand for."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client

from flows.cli.running import FlowOptions, run_variants
from flows.doctor.exposed_runs import clean, finding, in_database, on_server
from flows.retrain import retrain
from pipelines.store.settings import Settings
from tasks.reporting import settle
from tests.pipelines.http_site import Site, send, site
from tests.prefect_server import database, rows

pytestmark = pytest.mark.slow

__all__ = ["site"]
TEXT = "".join(f"Line {number} of a text.\n" for number in range(400)).encode()
CLEAR = "http://anna:hushhush@127.0.0.1:9/x"


@pytest.fixture
def home(prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for the runs; what they report goes to the session's server."""
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "home"


def declared(folder: Path, **source: object) -> str:
    path = folder / "mine.yaml"
    path.write_text(
        json.dumps(
            {
                "source": source,
                "corpus": {"reader": "text", "split": "contiguous"},
                "tokens": {"kind": "char"},
                "batches": {"sequence_length": 50},
                "model": {"kind": "language_model"},
                "registry": {"metric": "perplexity"},
            }
        )
    )
    return str(path)


def login(site: Site) -> set[str]:
    return {b64decode(headers["Authorization"].split()[1]).decode() for _, headers in site.asked}


def holding(folder: Path, *words: str) -> list[Path]:
    """The files in which one of the words stands, or whose name has it."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and any(word.encode() in path.read_bytes() or word in path.name for word in words)
    ]


def kept(home: Path, *words: str) -> list[Path]:
    """The files of Prefect's database in which one of the words stands."""
    assert settle() == 0
    folder = database(home).parent
    return [path for path in holding(folder, *words) if path.name.startswith("prefect.db")]


def test_a_mirrors_password_and_a_secret_block_reach_the_run_alone(
    prefect_home: Path, home: Path, site: Site, tmp_path: Path
) -> None:
    site.replies = [lambda handler: send(handler, 404 if "mirror" in handler.path else 200, TEXT)]
    Secret(value="blockhush").save("folio-test", overwrite=True)
    pipeline = declared(
        tmp_path,
        url=f"{site.address}/play.txt".replace("//", "//bert:${prefect-secret:folio-test}@"),
    )
    mirror = f"{site.address}/mirror".replace("//", "//anna:mirrorhush@")
    (record,), code = run_variants(
        [(pipeline, ())], Settings.at(home), FlowOptions(until="source", mirror=mirror)
    )
    assert (record["state"], code) == ("done", 0)
    assert login(site) == {"anna:mirrorhush", "bert:blockhush"}
    ((name,),) = rows(prefect_home, "select name from flow_run where name = ?", record["run"])
    assert name == record["run"]
    assert kept(prefect_home, "mirrorhush", "blockhush") == []
    assert holding(home, "anna", "mirrorhush", "blockhush") == []


def test_the_form_takes_no_password(home: Path, play: Path) -> None:
    with pytest.raises(Exception, match="mirror") as failure:
        retrain(str(play), mirror="http://anna:hush@host/", until="source")
    assert "hush" not in str(failure.value)


def test_doctor_takes_secrets_out_of_the_parameters_of_old_runs(
    prefect_home: Path, home: Path
) -> None:
    given = {"pipeline": "x", "mirror": CLEAR, "overrides": [f"source.url={CLEAR}", "seed=3"]}
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(retrain, parameters=given, name="exposed-test")
        assert "exposed-test" in in_database(prefect_home)
        assert "exposed-test" in [run.name for run, _ in on_server(client)]
        (one,) = finding(["exposed-test"], prefect_home)
        assert "exposed-test" in one.text and "change the password" in one.remedy
        assert "removed the secrets" in clean(prefect_home)
        assert client.read_flow_run(made.id).parameters == {
            "pipeline": "x",
            "mirror": "http://127.0.0.1:9/x",
            "overrides": ["seed=3"],
        }
        assert list(on_server(client)) == [] == in_database(prefect_home)
        client.delete_flow_run(made.id)
