"""The source stage against a real server with real faults, real files, and the real store."""

import errno
import gzip
import json
import os
import re
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import SourceSpec, Spec
from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.run.plan import recipe_of
from pipelines.source import download
from pipelines.source import stage as sources
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact, Recipe, Store, Workspace
from tests.pipelines.http_site import (
    BODY,
    DIGEST,
    MARK,
    Reply,
    Site,
    half,
    misfit,
    resumable,
    send,
    status,
    whole,
)

MIRROR = Path(__file__).resolve().parents[4] / "shared" / "mirror"


@pytest.fixture
def secure(site: Site, tmp_path: Path) -> Path:
    """Turns the site into an https one; the path of its certificate, which nobody trusts."""
    x509 = pytest.importorskip("cryptography.x509", reason="makes the certificate")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = (
        x509.CertificateBuilder(
            name,
            name,
            key.public_key(),
            x509.random_serial_number(),
            now - timedelta(days=1),
            now + timedelta(days=1),
        )
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    site.address = f"https://localhost:{site.server.server_port}"
    return path


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address where nothing listens: the port is held, so that none can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/text.txt"


@dataclass
class Built:
    out: Path
    scratch: Path
    counts: dict
    told: list[tuple[float, float | None, str]]

    def origin(self, name: str = "text.txt") -> dict:
        return self.counts["origins"][name]


Run = Callable[..., Built]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Build a source as the store would: the scratch folder stays from call to call."""
    told: list[tuple[float, float | None, str]] = []
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()

    def build(mirror: str | None = None, offline: bool = False, **source: object) -> Built:
        work = Workspace(out, scratch, tmp_path, lambda *step: told.append(step), mirror, offline)
        counts = sources.build({}, {"source": SourceSpec(**source)}, work)
        return Built(out, scratch, json.loads(json.dumps(counts)), told)

    return build


def fetch(url: str, part: Path, waits: tuple[float, ...] = (0, 0), **source: object) -> None:
    download.download(url, part, SourceSpec(url=url, **source), lambda *_: None, waits)


# --- addresses -----------------------------------------------------------------------------------


def test_download_keeps_bytes_and_says_where_they_came_from(site: Site, run: Run) -> None:
    built = run(url=site.url("a%20play.txt") + "?key=secret", sha256=("0" * 64, DIGEST.upper()))
    assert (built.out / "a play.txt").read_bytes() == BODY
    assert [path.name for path in built.out.iterdir()] == ["a play.txt"]
    assert (built.counts["files"], built.counts["bytes"]) == (1, len(BODY))
    assert built.origin("a play.txt") == {
        "from": "public address",
        "address": site.url("a%20play.txt") + "?…",
        "bytes": len(BODY),
        "sha256": DIGEST,
        "version": "no version named",
    }
    assert (0, len(BODY), "bytes of a play.txt") in built.told
    assert built.told[-1] == (len(BODY), len(BODY), "bytes of a play.txt")


def test_size_is_unknown_without_content_length(site: Site, run: Run) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, Content_Length=None)]
    built = run(url=site.url(), sha256=DIGEST)
    assert built.told[0] == (0, None, "bytes of text.txt")


def test_packed_file_is_not_unpacked_on_the_way(site: Site, run: Run) -> None:
    packed = gzip.compress(BODY, mtime=0)
    site.replies = [lambda handler: send(handler, 200, packed, Content_Encoding="gzip")]
    built = run(url=site.url("text.gz"))
    assert (built.out / "text.gz").read_bytes() == packed


def test_broken_off_download_goes_on_where_it_stopped(site: Site, run: Run) -> None:
    site.replies = [half(), resumable]
    built = run(url=site.url())
    assert (built.out / "text.txt").read_bytes() == BODY
    begun = int(re.fullmatch(r"bytes=(\d+)-", site.ranges[1])[1])
    assert 0 < begun <= 150_000
    assert site.asked[1][1]["If-Range"] == MARK
    assert (begun, len(BODY), "bytes of text.txt") in built.told


def test_interrupted_download_goes_on_in_the_next_run(site: Site, tmp_path: Path) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        half()(handler)
        site.closing.wait(5)

    def interrupt(done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    site.replies = [slow, resumable]
    part = tmp_path / "text.txt.part"
    source = SourceSpec(url=site.url())
    with pytest.raises(KeyboardInterrupt):
        download.download(site.url(), part, source, interrupt)
    kept = part.stat().st_size
    assert kept > 0
    fetch(site.url(), part)
    assert site.ranges == [None, f"bytes={kept}-"]
    assert part.read_bytes() == BODY


def test_date_proves_the_version_where_there_is_no_etag(site: Site, tmp_path: Path) -> None:
    date = {"Last_Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}

    def rest(handler: BaseHTTPRequestHandler) -> None:
        start = int(re.findall(r"\d+", handler.headers["Range"])[0])
        send(
            handler,
            206,
            BODY[start:],
            Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}",
            **date,
        )

    site.replies = [lambda h: send(h, 200, BODY[:150_000], Content_Length=len(BODY), **date), rest]
    fetch(site.url(), tmp_path / "text.txt.part")
    assert site.asked[1][1]["If-Range"] == date["Last_Modified"]
    assert (tmp_path / "text.txt.part").read_bytes() == BODY


@pytest.mark.parametrize(
    ("mark", "then", "asks_for_rest"),
    [
        (MARK, whole, True),  # the server knows no Range
        ('"version-0"', resumable, True),  # another version by now
        (None, resumable, False),  # nothing tells the version
        ('W/"weak"', resumable, False),  # If-Range may not use it
    ],
)
def test_download_restarts_cleanly_when_it_cannot_resume(
    site: Site, tmp_path: Path, mark: str | None, then: Reply, asks_for_rest: bool
) -> None:
    site.replies = [half(mark), then]
    fetch(site.url(), tmp_path / "text.txt.part")
    assert (tmp_path / "text.txt.part").read_bytes() == BODY
    assert len(site.asked) == 2
    assert (site.ranges[1] is not None) == asks_for_rest


@pytest.mark.parametrize(
    "reply",
    [
        status(416),
        misfit(1, ETag=MARK),
        misfit(ETag='"other"'),
        misfit(ETag=MARK, Content_Range=None),
    ],
)
def test_a_rest_that_does_not_fit_is_thrown_away(site: Site, tmp_path: Path, reply: Reply) -> None:
    site.replies = [half(), reply, resumable]
    fetch(site.url(), tmp_path / "text.txt.part")
    assert (tmp_path / "text.txt.part").read_bytes() == BODY
    assert site.ranges[2] is None


def test_rest_in_pieces_is_put_together(site: Site, tmp_path: Path) -> None:
    def piece(handler: BaseHTTPRequestHandler) -> None:
        start = int(re.findall(r"\d+", handler.headers["Range"])[0])
        end = min(start + 100_000, len(BODY))
        send(
            handler,
            206,
            BODY[start:end],
            ETag=MARK,
            Content_Range=f"bytes {start}-{end - 1}/{len(BODY)}",
        )

    site.replies = [half(), piece]
    fetch(site.url(), tmp_path / "text.txt.part")
    assert (tmp_path / "text.txt.part").read_bytes() == BODY


def test_part_of_another_address_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "text.txt.part"
    site.replies = [half(), half(), half(), resumable]
    with pytest.raises(FolioError):
        fetch(site.url("old/text.txt"), part)
    fetch(site.url("new/text.txt"), part)
    assert site.ranges[3] is None
    assert part.read_bytes() == BODY


def test_body_that_always_breaks_off_fails_after_three_tries(site: Site, tmp_path: Path) -> None:
    site.replies = [half(None)]
    with pytest.raises(FolioError, match=r"broke off after [\d,]+ of 300,000 bytes") as failure:
        fetch(site.url(), tmp_path / "text.txt.part")
    assert not isinstance(failure.value, UnreachableError)
    assert len(site.asked) == 3


def test_content_length_beyond_the_body_counts_as_broken_off(site: Site, tmp_path: Path) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, Content_Length=len(BODY) + 1)]
    with pytest.raises(FolioError, match="broke off"):
        fetch(site.url(), tmp_path / "text.txt.part")


def test_content_length_short_of_the_body_shows_in_the_digest(site: Site, run: Run) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, Content_Length=1000)]
    with pytest.raises(FolioError, match="wrong checksum"):
        run(url=site.url(), sha256=DIGEST)


def test_content_length_that_is_no_number_is_refused(site: Site, run: Run) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, Content_Length="many")]
    with pytest.raises(FolioError, match="Content-Length of 'many'"):
        run(url=site.url())


def test_refused_connection_is_unreachable(refusing: str, run: Run) -> None:
    with pytest.raises(UnreachableError) as failure:
        run(url=refusing)
    assert refusing in str(failure.value)
    assert os.strerror(errno.ECONNREFUSED) in str(failure.value)
    assert "--mirror DIR" in str(failure.value)


def test_unknown_host_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"http://no-such-host\.invalid/text\.txt"):
        fetch("http://no-such-host.invalid/text.txt", tmp_path / "text.txt.part")


def test_host_name_that_no_host_can_have_is_no_matter_of_the_net(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="cannot be fetched") as failure:
        fetch(f"http://{'a' * 70}.org/text.txt", tmp_path / "text.txt.part")
    assert not isinstance(failure.value, UnreachableError)


def test_silent_server_is_unreachable(site: Site, tmp_path: Path) -> None:
    site.replies = [lambda handler: site.closing.wait(5)]
    with pytest.raises(UnreachableError, match="timed out"):
        fetch(site.url(), tmp_path / "text.txt.part", timeout_seconds=0.2)
    assert len(site.asked) == 3


def test_server_that_falls_silent_half_way_is_asked_for_the_rest(
    site: Site, tmp_path: Path
) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        half()(handler)
        site.closing.wait(5)

    site.replies = [stall, resumable]
    fetch(site.url(), tmp_path / "text.txt.part", timeout_seconds=0.2)
    assert (tmp_path / "text.txt.part").read_bytes() == BODY
    assert site.ranges[1] is not None


@pytest.mark.parametrize("code", [403, 404, 410])
def test_refusals_fail_at_once(site: Site, run: Run, code: int) -> None:
    site.replies = [status(code)]
    with pytest.raises(FolioError, match=f"{site.url()}: answered {code} .*fix source.url") as e:
        run(url=site.url())
    assert not isinstance(e.value, UnreachableError)
    assert len(site.asked) == 1


def test_server_error_is_tried_again(site: Site, tmp_path: Path) -> None:
    site.replies = [status(503), status(503), whole]
    fetch(site.url(), tmp_path / "text.txt.part")
    assert (tmp_path / "text.txt.part").read_bytes() == BODY


def test_lasting_server_error_fails_after_three_tries(site: Site, tmp_path: Path) -> None:
    site.replies = [status(503)]
    with pytest.raises(FolioError, match="answered 503 Service Unavailable") as failure:
        fetch(site.url(), tmp_path / "text.txt.part")
    assert not isinstance(failure.value, UnreachableError)
    assert len(site.asked) == 3


def test_redirect_is_followed(site: Site, run: Run) -> None:
    site.replies = [status(302, Location="/elsewhere"), whole]
    assert run(url=site.url(), sha256=DIGEST).origin()["address"] == site.url()
    assert [path for path, _ in site.asked] == ["/text.txt", "/elsewhere"]


def test_endless_redirects_are_cut(site: Site, run: Run) -> None:
    site.replies = [status(301, Location="/again")]
    with pytest.raises(FolioError, match="redirects more than 5 times"):
        run(url=site.url())
    assert len(site.asked) == 6


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/hostname", "http://[x"])
def test_redirect_out_of_the_web_is_refused(site: Site, run: Run, target: str) -> None:
    site.replies = [status(302, Location=target)]
    with pytest.raises(FolioError, match="not safe"):
        run(url=site.url())


def test_untrusted_certificate_fails_at_once(site: Site, secure: Path, run: Run) -> None:
    with pytest.raises(FolioError, match="certificate is not trusted") as failure:
        run(url=site.url())
    assert not isinstance(failure.value, UnreachableError)
    assert site.asked == []


def test_https_is_fetched_and_does_not_fall_back_to_http(
    site: Site, secure: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure))
    run(url=site.url(), sha256=DIGEST)
    site.replies = [status(302, Location="http://localhost/text.txt")]
    with pytest.raises(FolioError, match=r"from https to http://localhost/text\.txt"):
        run(url=site.url())


def test_wrong_bytes_name_both_digests_and_are_kept_aside(site: Site, run: Run) -> None:
    with pytest.raises(FolioError) as failure:
        run(url=site.url(), sha256="a" * 64)
    message = str(failure.value)
    assert DIGEST in message and "a" * 64 in message and site.url() in message
    bad = Path(re.search(r"kept as (\S+\.bad)", message)[1])
    assert bad.read_bytes() == BODY
    assert len(site.asked) == 1
    built = run(url=site.url(), sha256=DIGEST)  # the bad bytes are not gone on with
    assert site.ranges == [None, None]
    assert (built.out / "text.txt").read_bytes() == BODY


def test_declared_oversize_is_refused_before_the_body(site: Site, run: Run) -> None:
    site.replies = [half(), whole]  # the half alone would be small enough
    with pytest.raises(FolioError, match=r"300,000 bytes .* source.max_bytes \(299,999\)"):
        run(url=site.url(), max_bytes=len(BODY) - 1)
    assert len(site.asked) == 1
    assert run(url=site.url(), max_bytes=len(BODY)).counts["bytes"] == len(BODY)


def test_undeclared_oversize_is_cut_off_and_removed(site: Site, run: Run, tmp_path: Path) -> None:
    site.replies = [lambda handler: send(handler, 200, BODY, Content_Length=None)]
    with pytest.raises(FolioError, match=r"source.max_bytes \(200,000\)"):
        run(url=site.url(), max_bytes=200_000)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_messages_and_counts_hold_no_credentials(site: Site, run: Run) -> None:
    secret = site.url().replace("//", "//ann:hush@") + "?token=hush"
    built = run(url=secret)
    assert site.asked[0][1]["Authorization"].startswith("Basic ")  # they are used, though
    site.replies = [status(403)]
    with pytest.raises(FolioError) as failure:
        run(url=secret)
    notes = "".join(path.read_text() for path in built.scratch.glob("*.json"))
    assert "hush" not in f"{failure.value} {built.counts} {built.told} {notes}"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/text.txt", "only http, https, file"),
        ("text.txt", "only http, https, file"),
        ("http:///text.txt", "has no host"),
        ("http://ann:hu/sh@host/text.txt", "malformed"),
        ("file://host/text.txt", "is not a file on this machine"),
        ("http://host/", "does not end in a file name"),
        ("http://host/..", "does not end in a file name"),
        ("http://host/a%2Fb", "does not end in a file name"),
        ("http://host/a%0Ab", "does not end in a file name"),
        ("http://host/manifest.json", "reserved for the store"),
        (("http://host/a/x.txt", "http://host/b/x.txt"), "same name"),
    ],
)
def test_impossible_addresses_are_refused_before_any_request(
    run: Run, url: object, why: str
) -> None:
    with pytest.raises(UsageError, match=why) as failure:
        run(url=url)
    assert "ann" not in str(failure.value)


def test_several_files_and_a_rerun_that_asks_only_for_the_missing(site: Site, run: Run) -> None:
    urls = (site.url("one.txt"), site.url("two.txt"))
    site.replies = [resumable, status(404), whole]
    with pytest.raises(FolioError, match=r"two\.txt: answered 404"):
        run(url=urls, sha256=DIGEST)
    built = run(url=urls, sha256=DIGEST)
    assert [path for path, _ in site.asked] == ["/one.txt", "/two.txt", "/two.txt"]
    assert built.counts["files"] == 2
    assert built.counts["bytes"] == 2 * len(BODY)
    assert sorted(path.name for path in built.out.iterdir()) == ["one.txt", "two.txt"]


def test_without_digests_a_rerun_believes_no_earlier_file(site: Site, run: Run) -> None:
    urls = (site.url("one.txt"), site.url("two.txt"))
    site.replies = [resumable, status(404), resumable]
    with pytest.raises(FolioError):
        run(url=urls)
    run(url=urls)
    assert [path for path, _ in site.asked][2:] == ["/one.txt", "/two.txt"]
    assert site.ranges[2] is None


# --- mirrors, offline, files of one's own --------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "text.txt").write_bytes(BODY)
    (folder / "text.txt").chmod(0o444)
    return folder


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_mirror_folder_is_tried_first(mirror: Path, refusing: str, run: Run, prefix: str) -> None:
    built = run(url=refusing, mirror=f"{prefix}{mirror}", sha256=DIGEST, offline=True)
    assert (built.out / "text.txt").read_bytes() == BODY
    assert built.origin()["from"] == "mirror dir"
    assert built.origin()["address"] == str(mirror / "text.txt")
    assert built.told[-1] == (len(BODY), len(BODY), "bytes of text.txt")


def test_mirror_address_is_tried_first(site: Site, refusing: str, run: Run) -> None:
    built = run(url=refusing, mirror=site.url("copies/"))
    assert built.origin()["from"] == "mirror url"
    assert [path for path, _ in site.asked] == ["/copies/text.txt"]


def test_file_that_the_mirror_folder_lacks_comes_from_its_address(
    mirror: Path, site: Site, run: Run
) -> None:
    built = run(url=site.url("other.txt"), mirror=str(mirror))
    assert built.origin("other.txt")["from"] == "public address"
    notice = built.told[0][2]
    assert str(mirror / "other.txt") in notice and f"trying {site.url('other.txt')}" in notice


@pytest.mark.parametrize("code", [404, 410])
def test_file_that_the_mirror_address_lacks_comes_from_its_address(
    site: Site, run: Run, code: int
) -> None:
    site.replies = [status(code), whole]
    built = run(url=site.url(), mirror=site.url("copies"))
    assert built.origin()["from"] == "public address"
    assert f"trying {site.url()}" in built.told[0][2]


def test_dead_mirror_address_is_told_and_passed_over(site: Site, refusing: str, run: Run) -> None:
    built = run(url=site.url(), mirror=refusing.removesuffix("/text.txt"))
    assert built.origin()["from"] == "public address"
    assert "no answer" in built.told[0][2]


def test_failure_names_every_place_that_was_tried(mirror: Path, site: Site, run: Run) -> None:
    site.replies = [status(404)]
    with pytest.raises(FolioError) as failure:
        run(url=site.url("other.txt"), mirror=str(mirror))
    assert str(mirror / "other.txt") in str(failure.value)
    assert site.url("other.txt") in str(failure.value)


def test_wrong_file_in_the_mirror_fails_and_is_not_passed_over(
    mirror: Path, site: Site, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(FolioError, match=f"{DIGEST}, expected {'a' * 64}"):
        run(url=site.url(), mirror=str(mirror), sha256="a" * 64)
    assert (tmp_path / "scratch" / "text.txt.bad").read_bytes() == BODY
    assert site.asked == []


def test_mirror_file_is_bounded(mirror: Path, refusing: str, run: Run) -> None:
    with pytest.raises(FolioError, match=r"source\.max_bytes"):
        run(url=refusing, mirror=str(mirror), max_bytes=10)


def test_part_of_a_download_gives_way_to_the_mirror(
    mirror: Path, site: Site, run: Run, tmp_path: Path
) -> None:
    site.replies = [half()]
    with pytest.raises(FolioError):
        fetch(site.url(), tmp_path / "scratch" / "text.txt.part")
    assert (tmp_path / "scratch" / "text.txt.part").stat().st_size
    built = run(url=site.url(), mirror=str(mirror))
    assert (built.out / "text.txt").read_bytes() == BODY


def test_copy_from_the_mirror_is_not_gone_on_with_as_a_download(site: Site, tmp_path: Path) -> None:
    part, other = tmp_path / "text.txt.part", tmp_path / "other.txt"
    other.write_bytes(b"from a mirror")
    site.replies = [half(), half(), half(), resumable]
    with pytest.raises(FolioError):
        fetch(site.url(), part)
    download.copy(other, part, SourceSpec(url=site.url()), lambda *_: None)
    assert part.read_bytes() == b"from a mirror"
    fetch(site.url(), part)
    assert site.ranges[3] is None
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("bad", ["no-such-folder", "ftp://host/x"])
def test_mirror_that_cannot_be_one_is_wrong_usage(refusing: str, run: Run, bad: str) -> None:
    with pytest.raises(UsageError, match=bad):
        run(url=refusing, mirror=bad)


def test_offline_asks_nobody_and_says_how_to_get_the_file(site: Site, run: Run) -> None:
    with pytest.raises(FolioError) as failure:
        run(url=site.url(), mirror=site.url("copies"), offline=True)
    assert site.asked == []
    message = str(failure.value)
    assert site.url() in message and "--offline" in message
    assert "--mirror DIR" in message and "\n" not in message


def test_file_address_needs_no_net(mirror: Path, run: Run) -> None:
    built = run(url=f"file://{mirror}/text.txt", sha256=DIGEST, offline=True)
    assert (built.out / "text.txt").read_bytes() == BODY


def test_missing_file_address_is_named(mirror: Path, run: Run) -> None:
    with pytest.raises(FolioError, match=r"gone\.txt: no such file; fix source\.url"):
        run(url=f"file://{mirror}/gone.txt")


def test_own_file_is_copied_under_its_name(mirror: Path, run: Run) -> None:
    built = run(path=str(mirror / "text.txt"), offline=True, max_bytes=10)
    assert (built.out / "text.txt").read_bytes() == BODY
    assert built.origin() == {
        "from": "path",
        "address": str(mirror / "text.txt"),
        "bytes": len(BODY),
        "sha256": DIGEST,
    }


def test_own_file_has_to_match_a_declared_digest(mirror: Path, run: Run) -> None:
    with pytest.raises(FolioError, match="wrong checksum"):
        run(path=str(mirror / "text.txt"), sha256="a" * 64)
    assert (mirror / "text.txt").read_bytes() == BODY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "texts"
    for name in ("b.txt", "deep/er/a.txt", "deep/manifest.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_own_folder_is_copied_as_a_tree(folder: Path, run: Run) -> None:
    (folder / "link.txt").symlink_to(folder / "b.txt")
    built = run(path=str(folder))
    copied = {
        str(p.relative_to(built.out)): p.read_text()
        for p in built.out.rglob("*")
        if p.is_file() and not p.is_symlink()
    }
    assert copied == {
        "b.txt": "b.txt",
        "deep/er/a.txt": "deep/er/a.txt",
        "deep/manifest.json": "deep/manifest.json",
        "link.txt": "b.txt",
    }
    assert built.counts["files"] == 4
    assert built.origin("texts") == {
        "from": "path",
        "address": str(folder),
        "files": 4,
        "bytes": sum(map(len, copied.values())),
    }


@pytest.mark.parametrize("target", ["../outside.txt", "..", "deep", "gone.txt", "link"])
def test_links_that_do_not_lead_to_a_file_of_the_folder_are_refused(
    folder: Path, run: Run, target: str
) -> None:
    (folder.parent / "outside.txt").write_text("not given to be read")
    (folder / "link").symlink_to(target)
    with pytest.raises(FolioError, match=f"{folder / 'link'}: a link to"):
        run(path=str(folder))


def test_what_is_no_file_is_refused(folder: Path, run: Run) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(FolioError, match="pipe: neither a file nor a folder"):
        run(path=str(folder))


def test_name_of_the_stores_manifest_is_refused(folder: Path, run: Run) -> None:
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="reserved for the store"):
        run(path=str(folder))


def test_empty_and_missing_folders_are_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty" / "in").mkdir(parents=True)
    with pytest.raises(FolioError, match="contains no file"):
        run(path=str(tmp_path / "empty"))
    with pytest.raises(FolioError, match="no such file or folder"):
        run(path=str(tmp_path / "gone"))


# --- through the store ---------------------------------------------------------------------------


def declared(tmp_path: Path, **source: object) -> Spec:
    path = tmp_path / "mine.yaml"
    path.write_text(
        json.dumps(
            {  # YAML reads JSON
                "source": source,
                "corpus": {"reader": "text", "split": "contiguous"},
                "tokens": {"kind": "char"},
                "batches": {"sequence_length": 100},
                "model": {"kind": "language_model"},
                "registry": {"metric": "perplexity"},
            }
        )
    )
    return load_spec(str(path))


def obtain(store: Store, spec: Spec, **options: object) -> tuple[Recipe, Artifact]:
    stage = stage_named("source")
    recipe = recipe_of(stage, spec, {})
    build = stage.build
    artifact, _ = store.obtain(
        recipe, lambda work: build({}, spec.select(stage.config), work), manifest={}, **options
    )
    return recipe, artifact


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """No file may grow beyond the limit: the kernel's own refusal, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_failure_publishes_nothing_and_a_rerun_repairs_it(site: Site, tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "store"), declared(tmp_path, url=site.url(), sha256=DIGEST)
    site.replies = [half(), status(404), resumable]
    with pytest.raises(FolioError, match="404"):
        obtain(store, spec)
    key = recipe_of(stage_named("source"), spec, {}).key
    assert store.find("source", key) is None
    assert store.remains("source", key) is None
    recipe, artifact = obtain(store, spec)
    assert recipe.key == key
    assert site.ranges[2] is not None  # what had come was kept
    assert store.damage(store.find("source", key)) is None
    assert (artifact.path / "text.txt").read_bytes() == BODY
    assert artifact.manifest["files"]["text.txt"]["sha256"] == DIGEST
    assert artifact.counts["origins"]["text.txt"]["sha256"] == DIGEST


def test_full_disk_publishes_nothing_and_a_rerun_goes_on(site: Site, tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "store"), declared(tmp_path, url=site.url())
    site.replies = [resumable]
    with full_disk(100_000), pytest.raises(FolioError, match="nothing was published"):
        obtain(store, spec)
    assert not list((tmp_path / "store").rglob("manifest.json"))
    _, artifact = obtain(store, spec)
    assert site.ranges[1] is not None
    assert (artifact.path / "text.txt").read_bytes() == BODY


def test_bad_file_outlives_the_failed_build(site: Site, tmp_path: Path) -> None:
    spec = declared(tmp_path, url=site.url(), sha256="a" * 64)
    with pytest.raises(FolioError) as failure:
        obtain(Store(tmp_path / "store"), spec)
    assert Path(re.search(r"kept as (\S+\.bad)", str(failure.value))[1]).read_bytes() == BODY


def test_same_bytes_from_mirror_and_address_are_the_same_artifact(
    site: Site, mirror: Path, tmp_path: Path
) -> None:
    spec = declared(tmp_path, url=site.url(), sha256=DIGEST)
    _, far = obtain(Store(tmp_path / "far"), spec)
    _, near = obtain(Store(tmp_path / "near"), spec, mirror=str(mirror))
    assert (far.key, far.digest) == (near.key, near.digest)
    assert near.counts["origins"]["text.txt"]["from"] == "mirror dir"


@pytest.mark.skipif(not MIRROR.is_dir(), reason="needs ../shared/mirror, the real files")
@pytest.mark.parametrize(
    ("pipeline", "name"), [("shakespeare", "shakespeare.txt"), ("imdb", "aclImdb_v1.tar.gz")]
)
def test_catalog_sources_are_in_the_mirror(tmp_path: Path, pipeline: str, name: str) -> None:
    _, artifact = obtain(
        Store(tmp_path / "store"), load_spec(pipeline), mirror=str(MIRROR), offline=True
    )
    assert list(artifact.manifest["files"]) == [name]
    assert (artifact.path / name).stat().st_size == (MIRROR / name).stat().st_size
