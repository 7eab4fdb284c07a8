"""The trainer process: `python -m services.trainer`. Puts the parts together."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from isogloss.v1.alias_service_pb2_grpc import add_AliasServiceServicer_to_server
from isogloss.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from services.common.database import Database
from services.common.server import Application, Service, run
from services.common.settings import load
from services.common.storage import open_store
from services.trainer.base_sources import configured
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.creation import Creation
from services.trainer.models import Models
from services.trainer.registry import alias_servicer
from services.trainer.servicer import ROLES, SERVICE, ModelServicer
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.tables import MIGRATIONS


def build(settings: TrainerSettings) -> Application:
    """Return the service: the calls, and beside them the runs."""
    database = Database(settings.database_url)
    database.upgrade(MIGRATIONS)
    store = open_store(settings.store_url, settings.store_options)
    bell = Bell()
    catalogue = Catalogue(store, configured(settings.bases))
    models = Models(database, bell)
    supervisor = Supervisor(
        settings, database=database, store=store, catalogue=catalogue, bell=bell
    )
    servicer = ModelServicer(
        models=models,
        creation=Creation(models, catalogue, store),
        catalogue=catalogue,
        store=store,
        bell=bell,
        poll_seconds=settings.watch_poll_seconds,
    )
    return Application(
        settings=settings,
        services=(
            Service(name=SERVICE, servicer=servicer, add=add_ModelServiceServicer_to_server),
            Service(
                name=alias_servicer.SERVICE,
                servicer=alias_servicer.AliasServicer(store),
                add=add_AliasServiceServicer_to_server,
            ),
        ),
        roles=ROLES | alias_servicer.ROLES,
        background=(supervisor.serve,),
        close=(database.close,),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    settings = load(TrainerSettings, sys.argv[1:] if argv is None else argv)
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
