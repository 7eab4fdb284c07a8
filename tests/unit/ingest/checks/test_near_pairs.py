from __future__ import annotations

from pathlib import Path

import numpy as np

from services.ingest.checks.near_pairs import Pairing


def test_words_are_found_wherever_they_lie_in_a_large_file(tmp_path: Path) -> None:
    # Around 32 MiB, of which the file system keeps what is written.
    starts = np.array([0, (1 << 23) - 2, (1 << 23) + 2, (1 << 24) + 7], np.uint32)
    words = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 9], [1, 2, 3, 4]]
    with (tmp_path / "words").open("wb") as file:
        for start, each in zip(starts, words, strict=True):
            file.seek(4 * int(start))
            file.write(np.array(each, np.uint32).tobytes())
    starts.tofile(tmp_path / "offsets")
    pairing = Pairing(
        words=tmp_path / "words",
        offsets=tmp_path / "offsets",
        sizes=np.full(4, 4, np.uint16),
        bits=np.zeros(4, np.uint64),
        neighbours=4,
    )
    pairs = np.array([[1, 0], [1, 2], [1, 3], [2, 3]], np.uint32)

    found = [part() for part in pairing.verified((pairs[:, 0], pairs[:, 1]))]

    alike = {
        pair for left, right in found for pair in zip(left.tolist(), right.tolist(), strict=True)
    }
    assert alike == {(1, 0), (1, 3)}
