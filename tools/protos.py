"""Generates the Python stubs from protos/, or proves that they match.

    python -m tools.protos            write isogloss/v1 and isogloss/storage/v1
    python -m tools.protos --check    lint and format the protos, fail where stubs differ

The generator lives in an environment of its own: its protobuf release is the oldest runtime
that clients may have, while the services run a newer one.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGES = ("isogloss/v1", "isogloss/storage/v1")
GENERATORS = ("grpcio-tools==1.81.1", "grpcio==1.81.1", "mypy-protobuf==5.1.0")
GOOGLE_PROTOS = ("api", "rpc", "type", "longrunning")


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    check = parser.parse_args().check
    include = export_google_protos(ROOT / "build" / "googleapis")
    buf = [str(Path(sysconfig.get_path("scripts")) / "buf")]
    if check:
        run([*buf, "format", "--diff", "--exit-code", "protos"])
        run([*buf, "lint", "protos"])
        look_for_breaking(buf, include)
    else:
        run([*buf, "format", "--write", "protos"])
    with tempfile.TemporaryDirectory() as scratch:
        generated = generate(Path(scratch), include)
        if check:
            return compare(generated)
        for package in PACKAGES:
            shutil.rmtree(ROOT / package, ignore_errors=True)
            shutil.copytree(generated / package, ROOT / package)
    return 0


def look_for_breaking(buf: list[str], include: Path) -> None:
    """Compare the protos with the last release; before there is one, warn against the last commit.

    From the first release on a breaking change ends the check.
    """
    tags = capture(["git", "tag", "--list", "v*", "--sort=-version:refname"]).split()
    before = ROOT / "build" / "before"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir(parents=True)
    archive = before / "protos.tar"
    reference = tags[0] if tags else "HEAD"
    run(["git", "archive", f"--output={archive}", reference, "protos", "buf.yaml"])
    shutil.unpack_archive(archive, before, filter="data")
    shutil.copytree(include, before / include.relative_to(ROOT))
    command = [*buf, "breaking", "protos", "--against", str(before / "protos")]
    if tags:
        run(command)
    elif found := capture(command, accept=(0, 100)):
        sys.stderr.write(f"warning: breaks what was committed, allowed before v0.1.0:\n{found}")


def export_google_protos(target: Path) -> Path:
    """Copy Google's common protos out of their Python package, for protoc and buf."""
    spec = importlib.util.find_spec("google.api")
    if spec is None or spec.submodule_search_locations is None:
        msg = "googleapis-common-protos is not installed: run `make install`"
        raise SystemExit(msg)
    google = Path(next(iter(spec.submodule_search_locations))).parent
    shutil.rmtree(target, ignore_errors=True)
    for name in GOOGLE_PROTOS:
        for source in (google / name).rglob("*.proto"):
            copy = target / "google" / source.relative_to(google)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    # The wheel ships this file under another name than the one that others import it by.
    renamed = target / "google" / "longrunning" / "operations_proto.proto"
    if renamed.exists():
        renamed.rename(renamed.with_name("operations.proto"))
    return target


def generate(target: Path, include: Path) -> Path:
    """Write all stubs below `target`; return it."""
    python = generator_environment()
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    run(
        [
            str(python), "-m", "grpc_tools.protoc",
            f"--plugin=protoc-gen-mypy={python.parent / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={python.parent / 'protoc-gen-mypy_grpc'}",
            f"-I{PROTOS}", f"-I{include}",
            f"--python_out={target}", f"--mypy_out=quiet:{target}",
            f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}",
            *files,
        ]
    )  # fmt: skip
    for package in PACKAGES:
        folder = target / package
        for stub in folder.glob("*_pb2_grpc.py*"):
            # A file without a service needs no gRPC stub.
            source = PROTOS / package / f"{stub.name.split('_pb2_grpc')[0]}.proto"
            if "\nservice " not in source.read_text():
                stub.unlink()
        (folder / "__init__.py").write_text(
            f'"""Generated from protos/{package}; do not edit."""\n'
        )
    return target


def generator_environment() -> Path:
    """Return the Python of the generator's environment, made on first use."""
    mark = hashlib.sha256("\n".join((sys.version, *GENERATORS)).encode()).hexdigest()[:12]
    home = ROOT / ".tools" / f"protos-{mark}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        uv = os.environ.get("UV", "uv")
        run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
        run([uv, "pip", "install", "--quiet", "--python", str(python), *GENERATORS])
        (home / "complete").touch()
    return python


def compare(generated: Path) -> int:
    """Return 1, after saying so, where a checked-in stub differs from a generated one."""
    different = [
        f"{package}/{name}"
        for package in PACKAGES
        for name in sorted(
            {path.name for folder in (ROOT, generated) for path in (folder / package).glob("*.py*")}
        )
        if not same(ROOT / package / name, generated / package / name)
    ]
    for name in different:
        sys.stderr.write(f"{name} does not match protos/: run `make protos`\n")
    return 1 if different else 0


def same(left: Path, right: Path) -> bool:
    """Tell whether both files exist with the same bytes."""
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


def run(command: list[str]) -> None:
    """Run a command from the root of the repository; end with its status where it fails."""
    status = subprocess.run(command, check=False, cwd=ROOT).returncode
    if status:
        raise SystemExit(status)


def capture(command: list[str], *, accept: tuple[int, ...] = (0,)) -> str:
    """Run a command from the root of the repository; return what it prints."""
    ran = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if ran.returncode not in accept:
        sys.stderr.write(ran.stderr)
        raise SystemExit(ran.returncode)
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
