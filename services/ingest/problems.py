"""Why a dataset failed, for those who look at it."""

from __future__ import annotations

from services.ingest.finding import Finding
from services.ingest.record import DatasetRecord, Problem


def refused(finding: Finding) -> Problem:
    """Return what is said of a finding that refuses a dataset."""
    where = str(finding.split or "dataset")
    return Problem(
        code=finding.code, where=where, message=f"{finding.message} {finding.fix}".strip()
    )


def other_label_mode(record: DatasetRecord) -> Problem:
    """Return what is said of lists of labels where the parent's rows have one each."""
    return Problem(
        code="label_mode",
        where="dataset",
        message=f"The new texts have lists of labels, and those of {record.parent_name} one each: "
        "write one label a text, or upload a dataset of its own.",
    )


def profile_missing(record: DatasetRecord) -> Problem:
    """Return what is said of a profile that is gone from the settings."""
    return Problem(
        code="profile_missing",
        where="dataset",
        message=f"Its profile {record.options.profile!r} was taken out of this server's settings: "
        "upload the files to a dataset with another profile.",
    )


def parent_missing(record: DatasetRecord) -> Problem:
    """Return what is said of a parent that is gone."""
    return Problem(
        code="parent_missing",
        where="dataset",
        message=f"{record.parent_name}, whose rows it was to begin with, is gone: upload the files "
        "to a dataset of their own, or append them to another.",
    )
