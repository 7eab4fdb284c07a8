"""The trainer process: `python -m services.trainer`. Puts the parts together."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence

from isogloss.v1.alias_service_pb2_grpc import add_AliasServiceServicer_to_server
from isogloss.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from services.common.database import Database
from services.common.server import Application, Service, run
from services.common.settings import load
from services.common.storage import open_store
from services.trainer import launch
from services.trainer.base_sources import configured
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.control import Control
from services.trainer.creation import Creation
from services.trainer.evaluating.calls import EvaluationCalls
from services.trainer.evaluating.rows import Evaluations
from services.trainer.evaluating.worker import Evaluator
from services.trainer.history import History
from services.trainer.models import Models
from services.trainer.quota import Quota
from services.trainer.registry import alias_servicer
from services.trainer.registry.aliases import Aliases
from services.trainer.registry.importing import Imports
from services.trainer.registry.transfers import Transfers
from services.trainer.roles import ROLES, SERVICE
from services.trainer.servicer import ModelServicer
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor, owner
from services.trainer.sweep import Sweep
from services.trainer.tables import MIGRATIONS
from services.trainer.viewing import Viewer
from services.trainer.webhooks.addresses import Addresses, known_hosts
from services.trainer.webhooks.courier import Courier
from services.trainer.webhooks.outbox import Outbox


def build(settings: TrainerSettings) -> Application:
    """Return the service: the calls, and beside them the runs."""
    database = Database(settings.database_url)
    database.upgrade(MIGRATIONS)
    store = open_store(settings.store_url, settings.store_options)
    bell = Bell()
    catalogue = Catalogue(store, configured(settings.bases))
    outbox = Outbox(settings.webhook_urls)
    addresses = Addresses(
        hosts=known_hosts(settings.webhook_hosts), uris=frozenset(settings.webhook_urls)
    )
    models = Models(
        database,
        bell,
        quota=Quota(max_queued=settings.max_queued_per_tenant),
        max_runs_per_tenant=settings.max_runs_per_tenant,
    )
    control = Control(database, bell, addresses=addresses, outbox=outbox)
    evaluating = EvaluationCalls(models, Evaluations(database, bell), store)
    creation = Creation(
        models,
        control,
        catalogue,
        store,
        addresses=addresses,
        threads=launch.threads_to_learn(settings),
    )
    supervisor = Supervisor(
        settings, database=database, store=store, catalogue=catalogue, bell=bell, outbox=outbox
    )
    evaluator = Evaluator(settings, database=database, store=store, bell=bell, owner=owner())
    servicer = ModelServicer(
        viewer=Viewer(
            models=models,
            history=History(database=database),
            catalogue=catalogue,
            bell=bell,
            poll_seconds=settings.watch_poll_seconds,
        ),
        control=control,
        creation=creation,
        evaluations=evaluating,
        aliases=Aliases(store),
        transfers=Transfers(
            store,
            Imports(database, store, bell),
            scratch=settings.scratch,
            limits=settings.transfer_limits,
        ),
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
        background=(
            supervisor.serve,
            evaluator.serve,
            Sweep(database, store, lines_kept=settings.lines_kept).serve,
            *_couriers(settings, database, addresses),
        ),
        close=(database.close,),
    )


def _couriers(
    settings: TrainerSettings, database: Database, addresses: Addresses
) -> list[Callable[[], Awaitable[None]]]:
    """Return who sends webhooks; without a secret those of models that name one wait for it."""
    if settings.webhook_key is None:
        return []
    courier = Courier(
        database,
        owner=owner(),
        key=settings.webhook_key,
        poll_seconds=settings.queue_poll_seconds,
        takes=addresses.takes,
    )
    return [courier.serve]


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    settings = load(TrainerSettings, sys.argv[1:] if argv is None else argv)
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
