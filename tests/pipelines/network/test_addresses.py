"""Addresses as they are shown and kept: no part of a secret, whatever the address looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.network import http_answers
from pipelines.network.addresses import config_shown, identity, is_certain, kept, redacted, shown
from pipelines.network.credentials import has_secrets

# address -> what is shown of it. All that is secret is written in capitals, and no host is.
NASTY = {
    "https://host/folder/file.txt": "https://host/folder/file.txt",
    "https://ANN:HUSH@host/x": "https://host/x",
    "https://TOKEN@host/x": "https://host/x",
    "https://:HUSH@host/x": "https://host/x",
    "https://ANN:@host/x": "https://host/x",
    "https://ANN:HU@SH@host/x": "https://host/x",
    "https://ANN@EXAMPLE.ORG:HUSH@host:8443/x": "https://host:8443/x",
    "https://ANN:HU/SH@host/x": "https://…",
    "https://ANN:12/SH@host/x": "https://…",
    "https://ANN:12#SH@host/x": "https://…",
    "https://ANN:12?SH@host/x": "https://…",
    "https://ANN/HUSH@host/x": "https://…",
    "https://ANN:HU@SH/HUSH@host/x": "https://…",
    "https://ANN:HU#SH@host/x": "https://…",
    "https://ANN:HU?SH@host/x": "https://…",
    "https://ANN:HU SH@host/x": "https://host/x",
    "https://ANN:HU\\SH@host/x": "https://host/x",
    "https://ANN:HU;SH&?@host/x": "https://…",
    "https://ANN:HU:SH@host/x": "https://host/x",
    "https://ANN:HU[SH@host/x": "https://…",
    "https://ANN:HU%40%2F%23SH@host/a%20b": "https://host/a%20b",
    "https://ANN:HUSH@": "https://…",
    "https://ANN:HUSH": "https://…",  # the host was forgotten
    "https://ANN:HUSH@host:port/x": "https://…",
    "https://ANN:HUSH@host:99999/x": "https://…",
    "https://ANN:HUSH@ho st/x": "https://…",
    "https://ANN:HUSH@[::1]:8080/x": "https://[::1]:8080/x",
    "https://ANN:HUSH@[fe80::1%25eth0]/x": "https://[fe80::1%25eth0]/x",
    "https://ANN:HUSH@[::1/x": "https://…",
    "https://ANN:HUSH@::1/x": "https://…",
    "https://ANN：HUSH＠host/x": "https://…",  # full width
    "  https://ANN:HUSH@host/x\n": "https://host/x",
    "https:\\\\ANN:HUSH@host\\x": "an address",
    "https:/ANN:HUSH@host/x": "an address",
    "https:ANN:HUSH@host/x": "an address",
    "https:////ANN:HUSH@host/x": "https://…",
    "//ANN:HUSH@host/x": "an address",
    "ANN:HUSH@host/x": "an address",
    "ANN:HUSH@host/x?to=https://host/": "an address",
    "mailto:ANN@host": "an address",
    "https://host/x?token=HUSH": "https://host/x?…",
    "https://host/x?HUSH": "https://host/x?…",
    "https://host?token=HUSH": "https://host?…",
    "https://host/x?a=1#HUSH": "https://host/x?…#…",
    "https://host/x#access_token=HUSH": "https://host/x#…",
    "https://host/x#?token=HUSH": "https://host/x#…",
    "https://host/x?next=https://ANN:HUSH@other/": "https://…",
    "host/x?token=HUSH": "host/x?…",
    "host/x#token=HUSH?more=HUSH": "host/x#…",
    "postgresql://ANN:HUSH@host:5432/db": "postgresql://host:5432/db",
    "postgresql+psycopg2://ANN:HUSH@host/db?password=HUSH": "postgresql+psycopg2://host/db?…",
    "postgresql://ANN:HU/SH@host/db": "postgresql://…",
    "mysql+pymysql://ANN:HU@SH@host/db": "mysql+pymysql://host/db",
    "postgresql:///db?user=ANN&password=HUSH": "postgresql:///db?…",
    "sqlite:////srv/mlflow.db": "sqlite:////srv/mlflow.db",
    "sqlite:///C:\\folio\\mlflow.db": "sqlite:///C:\\folio\\mlflow.db",
    "s3://KEY:SECRET@bucket/x": "s3://bucket/x",
    "s3://AKIA:AB/CD+EF@bucket/x": "s3://…",
    "s3://AKIA:12/CD+EF@bucket/x": "s3://…",
    "s3://bucket_1/x.y": "s3://bucket_1/x.y",
    "simplecache::s3://KEY:SECRET@bucket/x": "an address",
    "ssh+git://GIT:HUSH@host/x.git": "ssh+git://host/x.git",
    "file:///srv/play.txt": "file:///srv/play.txt",
    "file://ANN:HUSH@host/x": "file://host/x",
    "C:\\texts\\play.txt": "C:\\texts\\play.txt",
    "play.txt": "play.txt",
    "": "",
}

SECRETS = ("ANN", "HU", "SH", "TOKEN", "KEY", "SECRET", "CD")


@pytest.mark.parametrize(("address", "wanted"), NASTY.items())
def test_no_part_of_a_secret_is_shown(address: str, wanted: str) -> None:
    found = shown(address)
    assert found == wanted
    assert not any(letter.isascii() and letter.isupper() for letter in found.replace("C:\\", ""))
    for other in (identity(address), kept(address), kept(identity(address))):
        assert other.startswith(wanted.strip() if wanted != "an address" else "an address")
        assert not any(part in other for part in SECRETS)
    assert shown(found) == found and kept(identity(address)) == identity(address)


@pytest.mark.parametrize("address", [one for one in NASTY if one.strip()])
def test_a_message_about_an_address_shows_no_more_than_the_address(address: str) -> None:
    rest = address.partition("://")[2]
    message = redacted(
        f"could not parse '{address}': '{rest}' is odd, so is {address.strip()}", address
    )
    assert not any(part in message for part in ("ANN", "HU", "TOKEN", "KEY", "SECRET"))


def test_a_message_hides_a_decoded_password_too() -> None:
    url = "postgresql://ann:hu%40sh@host/db?sslkey=quiet"
    assert redacted("FATAL: hu@sh was refused at host/db, key quiet", url) == (
        "FATAL: … was refused at host/db, key …"
    )


def test_a_message_hides_what_a_library_took_for_the_host() -> None:
    url = "postgresql://ann:hush@quiet@host/db"
    assert redacted('could not translate host name "quiet@host"', url) == (
        'could not translate host name "…@host"'
    )


def test_paths_are_shown_as_they_are() -> None:
    assert shown(Path("/srv/a@b?c#d")) == "/srv/a@b?c#d" and http_answers.shown is shown


def test_the_identity_is_that_of_the_file_not_of_who_asks() -> None:
    url = "https://ann:hush@host/x?part=1"
    assert identity(url) == identity("https://bob:other@host/x?part=1#here".partition("#")[0])
    assert identity(url) != identity("https://ann:hush@host/x?part=2")
    assert identity("https://host/x") == "https://host/x"
    assert config_shown({"source.url": [url], "seed": 1}) == {
        "source.url": [identity(url)],
        "seed": 1,
    }
    assert config_shown({"source.url": [identity(url)]}) == {"source.url": [identity(url)]}


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("https://host/x", False),
        ("/srv/texts", False),
        ("text.txt", False),
        ("https://ann@host/x", True),
        ("https://ann:hu/sh@host/x", True),
        ("https://host/x?a=1", True),
        ("https://host/x#hush", True),
        ("https://${USER}:${PASSWORD}@host/x?t=${TOKEN}", False),
        ("https://${USER}:hush@host/x", True),
        ("https://host/x?${QUERY}", False),
        ("https://host/x?a=${A}&b=hush", True),
        ("ann:hush@host/x", True),
    ],
)
def test_what_holds_secrets(address: str, secret: bool) -> None:
    assert has_secrets(address) is secret


def test_what_has_but_one_meaning() -> None:
    assert is_certain("https://ann:hush@host/x") and not is_certain("https://ann:1/2@host/x")
