"""Files at addresses other than http(s): s3://, gs://, sftp:// and what else fsspec reaches.

The package for an address is the user's to install (`folio[s3]`). So are the credentials: they are
found as that package documents it, for s3 in AWS_ACCESS_KEY_ID, ~/.aws and the like.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.declaration.spec import SourceSpec
from pipelines.errors import FolioError, UnreachableError, first_line
from pipelines.network.addresses import redacted, shown
from pipelines.network.http_answers import UNNAMED, MissingError
from pipelines.source.download import CHUNK_BYTES, Report, Sink, delete_partial

# The scheme of an address, and what brings its package.
PACKAGES = {
    "s3": "folio[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hdfs": "pyarrow and Hadoop",
    "webhdfs": "requests",
    "sftp": "paramiko",
    "smb": "smbprotocol",
    "oci": "ocifs",
    "oss": "ossfs",
    "hf": "huggingface_hub",
}
UNKNOWN = "Protocol not known"  # by fsspec, of a scheme whose package is not there
DATES = ("LastModified", "last_modified", "updated", "mtime", "modified", "modify", "created")


def is_object_store(address: str | Path) -> bool:
    return not isinstance(address, Path) and urlsplit(address).scheme in PACKAGES


def version_at(address: str) -> str:
    """The version of the file: its ETag, else its date and size. Raises MissingError if there is no
    such file, UnreachableError if there is no answer, FolioError on refusals."""
    with _clear_errors(address):
        return _version(_info(*_located(address)))


def fetch(address: str, part: Path, source: SourceSpec, report: Report) -> str:
    """Copy the file to `part`; returns its version. Raises the errors of `version_at`."""
    with _clear_errors(address):
        files, path = _located(address)
        info = _info(files, path)
        delete_partial(part)
        sink = Sink(part, shown(address), source.max_bytes, report)
        with files.open(path, "rb") as stream, sink:
            sink.open(0, info.get("size"))
            while data := stream.read(16 * CHUNK_BYTES):
                sink.write(data)
        if sink.total is not None and sink.done != sink.total:
            raise UnreachableError(f"{shown(address)}: broke off after {sink.done:,} bytes")
        report(sink.done, sink.done)
        return _version(info)


def _located(address: str) -> tuple[Any, str]:
    """The file system and the path in it."""
    from fsspec.core import url_to_fs

    parts = urlsplit(address)
    files, path = url_to_fs(parts._replace(path=unquote(parts.path)).geturl())
    files.invalidate_cache()  # what it has listed may have changed
    return files, path


def _info(files: Any, path: str) -> dict[str, Any]:
    info = files.info(path)
    if info.get("type") == "directory":
        raise FileNotFoundError(path)
    return info


def _version(info: dict[str, Any]) -> str:
    if etag := info.get("ETag") or info.get("etag"):
        return f"ETag {etag}"
    date = next((info[name] for name in DATES if info.get(name)), None)
    return UNNAMED if date is None else f"Last-Modified {date}, {info.get('size')} bytes"


@contextmanager
def _clear_errors(address: str) -> Iterator[None]:
    """Each library has errors of its own; those of the file system's kind mean the same in all."""
    where = shown(address)
    try:
        yield
    except FolioError:
        raise
    except (ImportError, ValueError) as error:
        if isinstance(error, ValueError) and UNKNOWN not in str(error):
            raise FolioError(f"{where}: {_said(error, address)}") from error
        scheme = urlsplit(address).scheme
        raise FolioError(
            f"{where}: {scheme}:// needs a package that is not installed "
            f"({_said(error, address)}); install {PACKAGES[scheme]}"
        ) from error
    except FileNotFoundError as error:
        raise MissingError(f"{where}: no such file") from error
    except PermissionError as error:
        raise FolioError(
            f"{where}: refused ({_said(error, address)}); check the credentials"
        ) from error
    except Exception as error:
        if "Credentials" in type(error).__name__:
            raise FolioError(f"{where}: no credentials ({_said(error, address)})") from error
        raise UnreachableError(f"{where}: no answer ({_said(error, address)})") from error


def _said(error: Exception, address: str) -> str:
    return redacted(first_line(error), address)[:200]
