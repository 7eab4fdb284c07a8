"""Who may call what of `ModelService`."""

from __future__ import annotations

from services.common.identity import Role

SERVICE = "isogloss.v1.ModelService"
ROLES = {
    f"/{SERVICE}/ListBaseModels": Role.READ,
    f"/{SERVICE}/CreateModel": Role.WRITE,
    f"/{SERVICE}/GetModel": Role.READ,
    f"/{SERVICE}/ListModels": Role.READ,
    f"/{SERVICE}/WatchModel": Role.READ,
    f"/{SERVICE}/PauseModel": Role.WRITE,
    f"/{SERVICE}/ResumeModel": Role.WRITE,
    f"/{SERVICE}/CancelModel": Role.WRITE,
    f"/{SERVICE}/UpdateModel": Role.WRITE,
    f"/{SERVICE}/ListModelEvents": Role.READ,
    f"/{SERVICE}/ListStepMetrics": Role.READ,
    f"/{SERVICE}/DeleteModel": Role.WRITE,
    f"/{SERVICE}/ExportModel": Role.READ,
    f"/{SERVICE}/ImportModel": Role.WRITE,
    f"/{SERVICE}/GetEvaluation": Role.READ,
    f"/{SERVICE}/ListEvaluations": Role.READ,
    f"/{SERVICE}/DeleteEvaluation": Role.WRITE,
    f"/{SERVICE}/GetProjection": Role.READ,
    f"/{SERVICE}/GetModelCard": Role.READ,
    f"/{SERVICE}/EvaluateModel": Role.WRITE,
    f"/{SERVICE}/CompareModels": Role.READ,
}
