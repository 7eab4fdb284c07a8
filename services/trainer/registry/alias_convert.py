"""Aliases to protobuf and back. Pure: no store, no calls."""

from __future__ import annotations

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from isogloss.v1 import alias_service_pb2 as pb
from isogloss.v1.alias_pb2 import Alias, AliasVersion
from services.common import names
from services.common.errors import FieldViolation, InvalidArgument
from services.common.identity import Principal
from services.common.names import Collection
from services.trainer.registry.switching import Change

Changing = pb.SetAliasRequest | pb.RollbackAliasRequest | pb.DeleteAliasRequest


def alias(id_: str, record: AliasRecord) -> Alias:
    """Return an alias as callers see it."""
    return Alias(
        name=f"aliases/{id_}",
        model=record.model,
        preload=record.preload,
        version=record.version,
        actor=record.actor,
        update_time=record.create_time,
    )


def version(id_: str, record: AliasRecord) -> AliasVersion:
    """Return one version."""
    return AliasVersion(
        name=f"aliases/{id_}/versions/{record.version}",
        version=record.version,
        model=record.model,
        previous_model=record.previous_model,
        preload=record.preload,
        restored_version=record.restored_version,
        actor=record.actor,
        create_time=record.create_time,
    )


def alias_id(name: str, *, field: str = "name") -> str:
    """Return the id in `aliases/{alias}`.

    Raises:
        InvalidArgument: Where the name has another form.
    """
    return names.parse(name, Collection.ALIASES, field=field).id


def switch(request: pb.SetAliasRequest, principal: Principal) -> tuple[Change, str]:
    """Return what a caller asks for, and the bare id of the model.

    Raises:
        InvalidArgument: With everything that is wrong with the request.
    """
    violations: list[FieldViolation] = []
    alias, model = (
        names.read_id(name, collection, field=field, violations=violations)
        for field, name, collection in (
            ("alias.name", request.alias.name, Collection.ALIASES),
            ("alias.model", request.alias.model, Collection.MODELS),
        )
    )
    violations += _negative("expected_version", request.expected_version)
    if violations:
        raise InvalidArgument(violations)
    return _change(request, alias, principal), model


def change(
    request: pb.RollbackAliasRequest | pb.DeleteAliasRequest, principal: Principal
) -> Change:
    """Return which alias a caller wants to change.

    Raises:
        InvalidArgument: With everything that is wrong with the request.
    """
    violations = _negative("expected_version", request.expected_version)
    if isinstance(request, pb.RollbackAliasRequest):
        violations += _negative("version", request.version)
    found = names.read_id(request.name, Collection.ALIASES, field="name", violations=violations)
    if violations:
        raise InvalidArgument(violations)
    return _change(request, found, principal)


def _change(request: Changing, id_: str, principal: Principal) -> Change:
    return Change(
        tenant=principal.tenant,
        alias=id_,
        actor=principal.name,
        expected=request.expected_version if request.HasField("expected_version") else None,
    )


def _negative(field: str, number: int) -> list[FieldViolation]:
    if number >= 0:
        return []
    return [FieldViolation(field=field, description=f"{number} is negative: versions begin at 1.")]
