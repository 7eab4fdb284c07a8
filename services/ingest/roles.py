"""Who may call what of `DatasetService`."""

from __future__ import annotations

from services.common.identity import Role

SERVICE = "isogloss.v1.DatasetService"
ROLES = {
    f"/{SERVICE}/CreateDataset": Role.WRITE,
    f"/{SERVICE}/WriteDataset": Role.WRITE,
    f"/{SERVICE}/FinalizeDataset": Role.WRITE,
    f"/{SERVICE}/CheckDataset": Role.WRITE,
    f"/{SERVICE}/GenerateUploadUrl": Role.WRITE,
    f"/{SERVICE}/ImportDataset": Role.WRITE,
    f"/{SERVICE}/AppendDataset": Role.WRITE,
    f"/{SERVICE}/UpdateDataset": Role.WRITE,
    f"/{SERVICE}/DeleteDataset": Role.WRITE,
    f"/{SERVICE}/DiffDatasets": Role.READ,
    f"/{SERVICE}/DownloadDataset": Role.READ,
    f"/{SERVICE}/GetUsage": Role.READ,
    f"/{SERVICE}/GetDataset": Role.READ,
    f"/{SERVICE}/ListDatasets": Role.READ,
    f"/{SERVICE}/WatchDataset": Role.READ,
    f"/{SERVICE}/PreviewDataset": Role.READ,
    f"/{SERVICE}/ListFindings": Role.READ,
}
