"""The errors a user can mend. Each is one line: what is wrong, where, and what to do."""


class FolioError(Exception):
    """A stage cannot go on. Exit code 1."""

    exit_code = 1


class UsageError(FolioError):
    """The command or the declaration is wrong; nothing was run. Exit code 2."""

    exit_code = 2


class UnreachableError(FolioError):
    """A source's address did not answer: the one failure that the samples may stand in for."""


class DamagedError(FolioError):
    """Bytes on disk are not those that were published."""


class UnreadableError(DamagedError):
    """A small file of ours that is not what we wrote."""
