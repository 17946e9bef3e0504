"""What a long verb says when it is stopped."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import click


class Interrupted(click.exceptions.Abort):
    """A verb was stopped, and can say what comes of that.

    Attributes:
        hint: For people.
        terminated: By SIGTERM, of which the process then dies as it would have.
    """

    def __init__(self, hint: str, terminated: bool) -> None:
        super().__init__(hint)
        self.hint, self.terminated = hint, terminated


@contextlib.contextmanager
def interruptible(hint: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a block alike: what it has open is closed, and `hint` is said.

    Raises:
        Interrupted: One of them came.
    """
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    try:
        if before is signal.SIG_DFL:  # else somebody has other plans for it
            signal.signal(signal.SIGTERM, stop)
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(hint, signal.SIGTERM in came) from error
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)
