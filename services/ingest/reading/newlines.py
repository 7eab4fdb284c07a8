"""Makes every line end LF and remembers what was there."""

from __future__ import annotations


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
        before = len(text)
        # Twice as fast as to replace.
        text = b"\n".join(text.split(b"\r\n"))
        self.crlf += before - len(text)
        if b"\r" in text:
            self.lone_cr += text.count(b"\r")
            text = text.replace(b"\r", b"\n")
        return text

    def finish(self) -> bytes:
        """Return the line end that was held back."""
        held, self._carry = self._carry, b""
        self.lone_cr += len(held)
        return held.replace(b"\r", b"\n")
