from __future__ import annotations

import hashlib
import json
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from isogloss import AsyncClient, Client, FailedPrecondition, InvalidArgument
from isogloss.cli.app import app
from tests.integration.client.answers import bad_request, refusal
from tests.integration.client.scripted import BUNDLE, MODEL, Scripted, Suite


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "tone.tar"
    path.write_bytes(BUNDLE)
    return path


def command(suite: Suite, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--trainer", suite.address])


@pytest.mark.parametrize("lost", [[], [1]])
def test_a_model_is_exported_however_often_the_stream_breaks(
    client: Client, script: Scripted, tmp_path: Path, lost: list[int]
) -> None:
    script.lose_watch_after = list(lost)
    seen: list[tuple[int, int]] = []

    path = client.models.export(
        MODEL,
        to=tmp_path / "out.tar",
        include_examples=True,
        progress=lambda progress: seen.append((progress.received_bytes, progress.total_bytes)),
    )

    assert path.read_bytes() == BUNDLE
    assert script.asked("ExportModel")[0].include_examples
    assert seen[-1] == (len(BUNDLE), len(BUNDLE))
    assert [file.name for file in tmp_path.iterdir()] == ["out.tar"]


def test_a_bundle_is_imported_under_a_name(client: Client, script: Scripted, bundle: Path) -> None:
    sent: list[int] = []

    model = client.models.import_(bundle, display_name="Theirs", progress=sent.append)

    assert script.imported == [BUNDLE]
    assert model.display_name == "Theirs"
    assert len(script.asked("ImportModel")[0].request_id) == 36
    assert sent[-1] == len(BUNDLE)


def test_an_import_that_breaks_is_sent_again_as_the_same_request(
    client: Client, script: Scripted, bundle: Path
) -> None:
    script.refusals["ImportModel"].append(
        refusal(grpc.StatusCode.UNAVAILABLE, "lost", reason="DEPENDENCY_UNAVAILABLE")
    )

    client.models.import_(bundle)

    first, second = script.asked("ImportModel")
    assert first.request_id == second.request_id
    assert script.imported == [BUNDLE]


def test_a_bundle_that_is_none_is_refused_at_once(
    client: Client, script: Scripted, bundle: Path, tmp_path: Path
) -> None:
    script.refusals["ImportModel"].append(
        refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "data: is no bundle",
            bad_request(("data", "is no bundle")),
            reason="INVALID_FIELD",
        )
    )

    with pytest.raises(InvalidArgument, match="no bundle"):
        client.models.import_(bundle)
    with pytest.raises(FileNotFoundError):
        client.models.import_(tmp_path / "missing.tar")
    assert len(script.asked("ImportModel")) == 1


def test_a_model_that_an_alias_stands_for_needs_force(client: Client, script: Scripted) -> None:
    script.refusals["DeleteModel"].append(
        refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "aliases/a stands for it.", reason="MODEL_IN_USE"
        )
    )

    with pytest.raises(FailedPrecondition):
        client.models.delete(MODEL)
    client.models.delete(MODEL, force=True)

    assert [request.force for request in script.asked("DeleteModel")] == [False, True]


async def test_asyncio_does_the_same(
    async_client: AsyncClient, script: Scripted, tmp_path: Path
) -> None:
    path = await async_client.models.export(MODEL, to=tmp_path / "out.tar")
    await async_client.models.import_(path)

    assert script.imported == [BUNDLE]


def test_the_commands_print_documents(
    suite: Suite, script: Scripted, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tar"

    exported = command(suite, "models", "export", "x", "--output", str(out), "--json")
    imported = command(suite, "models", "import", str(bundle), "--name", "Theirs", "--json")
    piped = command(suite, "models", "import", str(bundle))
    deleted = command(suite, "models", "delete", "x", "--force", "--json")

    assert [result.exit_code for result in (exported, imported, piped, deleted)] == [0] * 4
    assert json.loads(exported.stdout) == {
        "file": str(out),
        "size_bytes": len(BUNDLE),
        "sha256": hashlib.sha256(BUNDLE).hexdigest(),
    }
    assert json.loads(imported.stdout)["display_name"] == "Theirs"
    assert piped.stdout.splitlines()[1].split("\t")[0] == MODEL
    assert script.asked("DeleteModel")[0].force
