"""Makes every line end LF and remembers what was there."""

from __future__ import annotations

import numpy as np

_CR, _LF = b"\r\n"


class Newlines:
    """The line ends of one stream."""

    def __init__(self) -> None:
        """Begin with none."""
        self._carry = b""
        self.crlf = 0
        """Line ends that were CR and LF."""

        self.lone_cr = 0
        """Line ends that were a CR."""

    def feed(self, text: bytes) -> bytes:
        """Return `text` with LF line ends, its last CR held back: its LF may come next."""
        if self._carry:
            text = self._carry + text
            self._carry = b""
        if text.endswith(b"\r"):
            text, self._carry = text[:-1], b"\r"
        if b"\r" not in text:
            return text
        data = np.frombuffer(text, np.uint8)
        returns = np.flatnonzero(data == _CR)
        # A CR that is the last byte, as of two at the end of a block, comes before itself: no LF.
        pairs = int(np.count_nonzero(data.take(returns + 1, mode="clip") == _LF))
        self.crlf += pairs
        if pairs == len(returns):
            # Half the time that replacing takes.
            return text.translate(None, b"\r")
        self.lone_cr += len(returns) - pairs
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def finish(self) -> bytes:
        """Return the line end that was held back."""
        held, self._carry = self._carry, b""
        self.lone_cr += len(held)
        return held.replace(b"\r", b"\n")
