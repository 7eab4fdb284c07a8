"""Downloads of datasets: into files, rows, and tables of the caller's own packages."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from isogloss import dataset_convert as convert
from isogloss.api.dataset_reading import DatasetReading
from isogloss.api.download import format_of, read_rows, save
from isogloss.api.resources import name_of
from isogloss.api.tables import package
from isogloss.dataset_options import FileFormat
from isogloss.dataset_report import Split
from isogloss.datasets import (
    Dataset,
    DownloadProgress,
    Example,
)
from isogloss.v1 import dataset_service_pb2 as pb

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_ROWS = pb.DownloadDatasetRequest.CONTENT_ROWS

FilePath = str | os.PathLike[str]


class DatasetDownloads(DatasetReading):
    """The methods that read whole datasets."""

    async def download(
        self,
        dataset: str | Dataset,
        *,
        split: Split | str,
        to: FilePath,
        format: FileFormat | str | None = None,  # noqa: A002 (the contract's word)
        raw: bool = False,
        timeout: float | None = None,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> Path:
        """Write the rows of one split of a READY dataset into a file.

        The file is there only when it is whole. In CSV a cell that a spreadsheet would run as a
        formula is written as it is.

        Args:
            dataset: The dataset.
            split: `train`, `validation` or `test`.
            to: The file; what is there is replaced.
            format: `csv`, `jsonl` or `parquet`. None: by the file's ending, else Parquet.
            raw: Write the file as it was uploaded instead; needs `keep_raw`.
            timeout: Seconds for all of it. None: no limit.
            progress: Is told how far it is.

        Returns:
            The file.
        """
        content = pb.DownloadDatasetRequest.CONTENT_RAW if raw else _ROWS
        request = pb.DownloadDatasetRequest(
            name=name_of(dataset),
            content=content,
            split=convert.split_to_proto(split),
            format=convert.format_to_proto(None if raw else format_of(Path(to), format)),
        )
        return await self._save(request, Path(to), timeout, progress)

    async def download_findings(
        self,
        dataset: str | Dataset,
        *,
        to: FilePath,
        format: FileFormat | str | None = None,  # noqa: A002 (the contract's word)
        timeout: float | None = None,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> Path:
        """Write every finding of a READY or FAILED dataset into a file; as `download`."""
        request = pb.DownloadDatasetRequest(
            name=name_of(dataset),
            content=pb.DownloadDatasetRequest.CONTENT_FINDINGS,
            format=convert.format_to_proto(format_of(Path(to), format)),
        )
        return await self._save(request, Path(to), timeout, progress)

    async def _save(
        self,
        request: pb.DownloadDatasetRequest,
        to: Path,
        timeout: float | None,
        progress: Callable[[DownloadProgress], None] | None,
    ) -> Path:
        await save(
            self._transport,
            lambda: self._transport.stream(self._stub.DownloadDataset, request, timeout),
            to,
            progress,
        )
        return to

    async def rows(
        self, dataset: str | Dataset, split: Split | str, *, timeout: float | None = None
    ) -> AsyncGenerator[Example]:
        """Give the rows of one split of a READY dataset; they pass through a temporary file."""
        with TemporaryDirectory(prefix="isogloss-") as folder:
            to = Path(folder, "rows.jsonl")
            await self.download(dataset, split=split, to=to, timeout=timeout)
            for example in read_rows(to, Split(split)):
                yield example

    async def to_pandas(
        self, dataset: str | Dataset, split: Split | str, *, timeout: float | None = None
    ) -> pd.DataFrame:
        """Read one split of a READY dataset as a pandas data frame; `labels` holds lists.

        Raises:
            MissingPackage: pandas or pyarrow is not installed.
        """
        pandas = package("pandas", "for to_pandas", beside="pyarrow")
        return await self._table(dataset, split, timeout, pandas.read_parquet)

    async def to_polars(
        self, dataset: str | Dataset, split: Split | str, *, timeout: float | None = None
    ) -> pl.DataFrame:
        """Read one split of a READY dataset as a Polars data frame; `labels` holds lists.

        Raises:
            MissingPackage: polars is not installed.
        """
        polars = package("polars", "for to_polars")
        read = partial(polars.read_parquet, memory_map=False)
        return cast("pl.DataFrame", await self._table(dataset, split, timeout, read))

    async def to_arrow(
        self, dataset: str | Dataset, split: Split | str, *, timeout: float | None = None
    ) -> pa.Table:
        """Read one split of a READY dataset as an Arrow table; `labels` holds lists.

        Raises:
            MissingPackage: pyarrow is not installed.
        """
        parquet = package("pyarrow.parquet", "for to_arrow")
        return await self._table(dataset, split, timeout, parquet.read_table)

    async def _table(
        self,
        dataset: str | Dataset,
        split: Split | str,
        timeout: float | None,
        read: Callable[[Path], Any],
    ) -> Any:  # noqa: ANN401 (a table of the caller's package)
        with TemporaryDirectory(prefix="isogloss-") as folder:
            to = Path(folder, "rows.parquet")
            await self.download(dataset, split=split, to=to, timeout=timeout)
            return await self._transport.work(read, to)
