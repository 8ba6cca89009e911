"""What a message says of an error and of a wrong name."""

from __future__ import annotations

from pipelines.errors import did_you_mean, first_line


def test_the_first_line_that_says_something() -> None:
    assert first_line(ValueError("\n  wrong  \nmore")) == "wrong"
    assert first_line(ValueError(" ")) == "ValueError"
    assert first_line(ValueError(), "no message") == "no message"


def test_the_nearest_names() -> None:
    known = ("tokens", "token", "batches")
    assert did_you_mean("tokns", known) == "; did you mean tokens?"
    assert did_you_mean("tokns", known, most=3) == "; did you mean tokens or token?"
    assert did_you_mean("xyz", known) == ""
