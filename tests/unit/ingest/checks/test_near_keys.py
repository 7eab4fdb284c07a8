from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.ingest.checks.near_keys import Bands


@pytest.mark.parametrize(("texts", "parts"), [(0, 1), (1, 1), (999, 1), (1000, 2), (600_000, 1024)])
def test_each_text_stands_once_beside_those_that_share_its_band(
    tmp_path: Path, texts: int, parts: int
) -> None:
    rng = np.random.default_rng(texts)
    paths = [tmp_path / "band0", tmp_path / "band1"]
    # As sixteen neighbours share the first; of the second, half do.
    shared = rng.integers(0, 1 << 28, -(-texts // 16), np.uint32)
    band = np.repeat(shared, 16)[:texts] << np.uint32(4)
    band.tofile(paths[0])
    another = rng.integers(0, 2, texts, np.uint32) << np.uint32(31)
    another.tofile(paths[1])
    alone = rng.random(texts) < 0.9

    found = [part() for part in Bands(paths=paths, alone=alone, part=1000).in_order(0)]

    placed = [part.at(np.arange(len(part.keys))) for part in found]
    assert np.array_equal(np.sort(np.concatenate(placed)), np.flatnonzero(alone))
    for part, places in zip(found, placed, strict=True):
        bands = part.bands(0, len(part.keys))
        assert np.array_equal(bands[1:] == bands[:-1], band[places][1:] == band[places][:-1])
        both = (band[places].astype(np.uint64) << np.uint64(32)) | another[places]
        assert np.all(both[1:] >= both[:-1])
    assert len(found) == parts
