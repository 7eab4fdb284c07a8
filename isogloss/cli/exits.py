"""What the exit codes of the command mean."""

from __future__ import annotations

from enum import IntEnum

from isogloss import errors


class ExitCode(IntEnum):
    """How a command ended; the help of `isogloss` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    DENIED = 5
    UNAVAILABLE = 6
    CONFLICT = 7
    INTERRUPTED = 130
    TERMINATED = 143


MEANING = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the thing itself failed: a run, a check of doctor, a service of up",
    ExitCode.USAGE: "wrong arguments, by this command's or by the server's judgement; a file that "
    "`datasets check` cannot read",
    ExitCode.REFUSED: "validation refused the dataset: no model can be trained on it",
    ExitCode.NOT_FOUND: "no such dataset or model",
    ExitCode.DENIED: "no API key, an unknown one, or one that may not do this",
    ExitCode.UNAVAILABLE: "no answer, not in time, or too much at once: try again",
    ExitCode.CONFLICT: "not in this state, such as a model that is still training",
    ExitCode.INTERRUPTED: "stopped with Ctrl-C",
    ExitCode.TERMINATED: "stopped with SIGTERM",
}

_OF: tuple[tuple[type[errors.IsoglossError], ExitCode], ...] = (
    (errors.DatasetRefused, ExitCode.REFUSED),
    (errors.InvalidArgument, ExitCode.USAGE),
    (errors.ConfigurationError, ExitCode.USAGE),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Unauthenticated, ExitCode.DENIED),
    (errors.PermissionDenied, ExitCode.DENIED),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
    (errors.DeadlineExceeded, ExitCode.UNAVAILABLE),
    (errors.ResourceExhausted, ExitCode.UNAVAILABLE),
    (errors.FailedPrecondition, ExitCode.CONFLICT),
    (errors.AlreadyExists, ExitCode.CONFLICT),
    (errors.Aborted, ExitCode.CONFLICT),
)


def exit_code(error: errors.IsoglossError) -> ExitCode:
    """Give the code that an error ends the command with."""
    return next((code for kind, code in _OF if isinstance(error, kind)), ExitCode.FAILED)
