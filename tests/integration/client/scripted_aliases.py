"""The alias service as a script of the test plays it."""

from __future__ import annotations

from google.protobuf import empty_pb2

from isogloss.v1 import alias_pb2
from isogloss.v1 import alias_service_pb2 as pb
from isogloss.v1.alias_service_pb2_grpc import AliasServiceServicer
from tests.integration.client.answers import Context
from tests.integration.client.scripted_datasets import Recorder

Alias = alias_pb2.Alias
AliasVersion = alias_pb2.AliasVersion

ALIAS = "aliases/reviews"


class ScriptedAliases(Recorder, AliasServiceServicer):
    """Two aliases, of which one was switched, rolled back and deleted before."""

    def __init__(self) -> None:
        """Begin with them."""
        super().__init__()
        self.aliases = [
            Alias(name="aliases/a", model="models/one", version=1, actor="anna"),
            Alias(name=ALIAS, model="models/two", version=5, preload=True, actor="anna"),
        ]
        self.versions = [
            AliasVersion(version=5, model="models/two", preload=True, actor="anna"),
            AliasVersion(version=4, previous_model="models/one", actor="bob"),
            AliasVersion(
                version=3,
                model="models/one",
                previous_model="models/two",
                restored_version=1,
                actor="anna",
            ),
            AliasVersion(version=2, model="models/two", previous_model="models/one", actor="anna"),
            AliasVersion(version=1, model="models/one", actor="anna"),
        ]

    def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> Alias:  # noqa: N802
        self._asked("SetAlias", request, context)
        answer = Alias()
        answer.CopyFrom(request.alias)
        answer.version = 6
        answer.update_time.GetCurrentTime()
        return answer

    def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> Alias:  # noqa: N802
        self._asked("GetAlias", request, context)
        return self.aliases[1]

    def ListAliases(  # noqa: N802
        self, request: pb.ListAliasesRequest, context: Context
    ) -> pb.ListAliasesResponse:
        self._asked("ListAliases", request, context)
        place = int(request.page_token or 0)
        more = str(place + 1) if place + 1 < len(self.aliases) else ""
        return pb.ListAliasesResponse(aliases=self.aliases[place : place + 1], next_page_token=more)

    def ListAliasVersions(  # noqa: N802
        self, request: pb.ListAliasVersionsRequest, context: Context
    ) -> pb.ListAliasVersionsResponse:
        self._asked("ListAliasVersions", request, context)
        place = int(request.page_token or 0)
        more = str(place + 3) if place + 3 < len(self.versions) else ""
        return pb.ListAliasVersionsResponse(
            versions=self.versions[place : place + 3], next_page_token=more
        )

    def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Context) -> Alias:  # noqa: N802
        self._asked("RollbackAlias", request, context)
        return self.aliases[0]

    def DeleteAlias(  # noqa: N802
        self, request: pb.DeleteAliasRequest, context: Context
    ) -> empty_pb2.Empty:
        self._asked("DeleteAlias", request, context)
        self.deleted.append(request.name)
        return empty_pb2.Empty()
