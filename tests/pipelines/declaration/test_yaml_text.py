"""Declarations as bytes that anybody may have written: one line, soon, in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.declaration.load import load_spec
from pipelines.declaration.reading.yaml_text import MAX_BYTES, MAX_DEPTH, NotYamlError, parse
from pipelines.errors import UsageError
from tests.conftest import REVIEWS

SECONDS, MEMORY = 10, 1 << 30  # of all of `READER`, its imports included: 0.4 GB


def doubling(line: str) -> str:
    return "k0: &k0 {x: 1, y: 2}\n" + "".join(line.format(i=i, above=i - 1) for i in range(1, 28))


HOSTILE = {  # what the file holds: (the line that is named, what is said)
    "mappings": (doubling("k{i}: &k{i} {{p: *k{above}, q: *k{above}}}\n"), 10, "aliases"),
    "lists": (doubling("k{i}: &k{i} [*k{above}, *k{above}]\n"), 11, "aliases"),
    "merges": (doubling("k{i}: &k{i} {{<<: [*k{above}, *k{above}]}}\n"), 10, "aliases"),
    "deep-flow": ("a: " + "[" * 100_000, 1, "nested"),
    "deep-block": ("- " * 50_000, 1, "nested"),
    "deep-keys": ("{a: " * 20_000, 1, "nested"),
    "merges-itself": ("a: &a\n  <<: *a\n", 2, "*a contains itself"),
    "holds-itself": ("a: &a {b: [*a]}\n", 1, "*a contains itself"),
    "undefined": ("a: *b\n", 1, "undefined alias"),
    "digits": ("title: x\nseed: " + "9" * 5000, 2, "a number of 5,000 characters"),
    "sixties": ("seed: 1" + ":1" * 100_000, 1, "a number of"),
    "date": (
        "title: x\nseed: 2020-99-99\n",
        2,
        "'2020-99-99' is not a valid timestamp (month must be in",
    ),
    "tagged-date": ("seed: !!timestamp x\n", 1, "'x' is not a valid timestamp"),
    "tagged-number": ("seed: !!int ''\n", 1, "'' is not a valid int"),
    "tagged-truth": ("seed: !!bool x\n", 1, "'x' is not a valid bool"),
    "class": ("a: !!python/object/apply:os.system [x]\n", 1, "python/object/apply:os.system"),
    "twice": ("a: {b: 1,\n b: 2}\n", 2, "b is given twice"),
    "number-key": ("a:\n  1984: x\n", 2, "1984 is not a string, as a key must be"),
    "list-key": ("? [a]\n: x\n", 1, "a sequence is not a string"),
    "long-key": ("? " + "x" * 1000 + "\n: 1", 1, "a key of 1,000 characters"),
    "tab": ("a:\n\tb: 1\n", 2, "'\\t'"),
    "nul": ("a: x\nb: \0\n", 2, "U+0000"),
    "half-a-pair": ('title: "\\ud800"\n', 1, "half a surrogate pair"),
    "long-tag": ("a: !" + "x" * 100_000, 1, "xxx…"),
    "many": ("- a\n" * 60_000, 10_000, "more than 10,000 keys and values"),
    "documents": ("--- a\n" * 1000, 2, "another document"),
    "blank": ("#" * MAX_BYTES, 1, "a mapping that starts with"),
    "empty": ("", 1, "a mapping that starts with"),
    "list": ("- source\n", 1, "a mapping that starts with"),
    "utf-16": ("source: 1\n".encode("utf-16"), 1, "not UTF-8"),
    "latin-1": ("title: x\na: café\n".encode("latin-1"), 2, "not UTF-8"),
    "large": ("#" * (MAX_BYTES + 1), None, f"larger than {MAX_BYTES:,} bytes"),
}
READER = f"""
import json, resource, sys, time
from pipelines.declaration.load import load_spec
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))
for path in sys.argv[1:]:
    started = time.process_time()
    try:
        said = str(load_spec(path))
    except BaseException as error:
        said = type(error).__name__ + " " + str(error)
    print(json.dumps([path, time.process_time() - started, said]), flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, str]]:
    """{case: (seconds, what was said)}, all in one process with little memory."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (content, _, _) in HOSTILE.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.yaml").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READER, *(str(folder / f"{name}.yaml") for name in HOSTILE)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    lines = map(json.loads, done.stdout.splitlines())
    return {
        Path(path).stem: (seconds, said.replace(str(folder), "")) for path, seconds, said in lines
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_declaration_is_one_line_soon(
    told: dict[str, tuple[float, str]], name: str
) -> None:
    assert name in told, "the process that read it died"
    (seconds, said), (_, line, what) = told[name], HOSTILE[name]
    where = f"/{name}.yaml" + (f":{line}" if line else "")
    assert said.startswith(f"UsageError {where}: "), said[:300]
    assert what in said and "\n" not in said and len(said) < 600
    assert seconds < SECONDS


@pytest.mark.parametrize(
    "path",
    ["/dev/zero", "/dev/stdin", "/", "./" + "x" * 5000, "./a\0b", "./loop.yaml", "./pipe.yaml"],
)
def test_what_is_no_file_is_no_declaration(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    Path("loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(UsageError, match="no such declaration"):
        load_spec(path)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = tmp_path / "mine.yaml"
    path.touch(mode=0)
    with pytest.raises(UsageError, match=r"mine\.yaml: cannot be read: Permission denied"):
        load_spec(str(path))


def test_modest_aliases_and_merges_work(declare) -> None:
    text = (
        REVIEWS.replace("model: {{", "model: &net {{")
        + """\
profiles:
  quick: &quick {{training.epochs: 1, model.units: &units [3, 3]}}
  wide: {{<<: *quick, model.embedding: 9}}
  wrong: {{<<: *quick, model: {{<<: *net, cell: gru}}, training.epoch: 1}}
"""
    )
    path = str(declare("aliased", text))
    wide = load_spec(path, "wide")
    assert (wide.model.units, wide.model.embedding, wide.training.epochs) == ((3, 3), 9, 1)
    with pytest.raises(UsageError, match=r"aliased\.yaml:14: unknown key training\.epoch; did"):
        load_spec(path, "wrong")


def test_a_byte_order_mark_is_no_part_of_the_text(declare) -> None:
    path = declare("marked", REVIEWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_spec(str(path)).title == "Tiny reviews"


def test_the_bounds_are_where_they_are_said_to_be() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)[0]
    with pytest.raises(NotYamlError, match="nested"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert len(parse("a: &a [" + "x, " * 997 + "]\nb: [" + "*a, " * 8 + "]\n")[0]["b"]) == 8
    with pytest.raises(NotYamlError, match="aliases expanded"):
        parse("a: &a [" + "x, " * 997 + "]\nb: [" + "*a, " * 10 + "]\n")
