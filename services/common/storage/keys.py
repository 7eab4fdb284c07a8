"""What a key may look like, the same for every store."""

from __future__ import annotations

import unicodedata

RESERVED_SEGMENT = ".isogloss"
"""First segment that stores keep for themselves (unfinished files, self-tests)."""

MAX_KEY_BYTES = 1024
"""S3's limit on a whole key."""

MAX_SEGMENT_BYTES = 255
"""The limit of common file systems on one name."""


def check_key(key: str) -> None:
    """Refuse a key that not every store can hold, or that could leave the store's root.

    Raises:
        ValueError: Where `key` is empty, too long, absolute, holds an empty, `.` or `..`
            segment, a backslash or a control character, or starts with what is reserved.
    """
    if not key:
        raise ValueError("an object's key must not be empty")
    _check_characters(key)
    segments = key.split("/")
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise ValueError(f"the key {key!r} has a segment {segment!r}, which names no object")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise ValueError(f"a segment of the key {key!r} is over {MAX_SEGMENT_BYTES} bytes")
    if segments[0] == RESERVED_SEGMENT:
        raise ValueError(f"the key {key!r} starts with {RESERVED_SEGMENT}, which stores keep")


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that no key can have.

    Raises:
        ValueError: As `check_key`; the last segment may be empty or unfinished.
    """
    _check_characters(prefix)
    *whole, last = prefix.split("/")
    if last == ".." or any(segment in {"", ".", ".."} for segment in whole):
        raise ValueError(f"the prefix {prefix!r} has a segment that no key has")


def _check_characters(text: str) -> None:
    if len(text.encode(errors="surrogatepass")) > MAX_KEY_BYTES:
        raise ValueError(f"a key of more than {MAX_KEY_BYTES} bytes")
    for character in text:
        if character == "\\" or unicodedata.category(character) in {"Cc", "Cs"}:
            raise ValueError(f"the key {text!r} holds the character {character!r}")
