"""Compiling what is measured against: C with the system's compiler, Go with the system's toolchain, both offline."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from infra.stack.state import PROJECT_DIR

SOURCES = PROJECT_DIR / "benchmarks"
_GOPATH = Path("/usr/share/gocode")  # where Debian installs Go libraries
_GO_MODULES = ("klauspost/compress/gzip", "cespare/xxhash")
_GO_PACKAGES = ("golang-go", "golang-github-klauspost-compress-dev", "golang-github-cespare-xxhash-dev")
_C_PACKAGES = ("libdeflate-dev",)


class BuildUnavailableError(RuntimeError):
    """Something to build with is missing; the message says what, and how to get it."""


class Programs(NamedTuple):
    """What could be built; None where it could not, `notes` says why."""

    sender: Path
    physical_limit: Path | None
    go_peer: Path | None
    go_version: str | None
    notes: list[str]


def build_all(into: Path, say: Callable[[str], None], *, install: bool = True) -> Programs:
    """Compile into `into`, `install`ing missing packages where we may (root on Debian).

    Raises `BuildUnavailableError` if not even the sender can be compiled.
    """
    into.mkdir(parents=True, exist_ok=True)
    if shutil.which("cc") is None:
        raise BuildUnavailableError("no C compiler: the load generator cannot be built (Debian: apt install gcc)")
    sender = _compile(into / "load", SOURCES / "load" / "load.c")
    notes: list[str] = []
    limit: Path | None = None
    try:
        _ensure(_has_libdeflate, _C_PACKAGES, "libdeflate's header", say if install else None)
        limit = _compile(into / "limit", SOURCES / "physical_limit" / "limit.c", "-ldeflate", "-lpthread")
    except BuildUnavailableError as error:
        notes.append(f"physical limit not measured: {error}")
    peer: Path | None = None
    version: str | None = None
    try:
        _ensure(_has_go, _GO_PACKAGES, "Go with klauspost/compress and cespare/xxhash", say if install else None)
        peer, version = _compile_go(into / "go_peer"), _go_version()
    except BuildUnavailableError as error:
        notes.append(f"Go peer not measured: {error}")
    return Programs(sender, limit, peer, version, notes)


def _ensure(
    present: Callable[[], bool], packages: tuple[str, ...], what: str, say: Callable[[str], None] | None
) -> None:
    if present():
        return
    if say is not None and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"Installing {' '.join(packages)}")
        command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
        subprocess.run(
            command, check=False, capture_output=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
    if not present():
        raise BuildUnavailableError(f"{what} missing (Debian: apt install {' '.join(packages)})")


def _has_libdeflate() -> bool:
    probe = ["cc", "-E", "-include", "libdeflate.h", "-x", "c", os.devnull]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


def _has_go() -> bool:
    found = all((_GOPATH / "src" / "github.com" / module).is_dir() for module in _GO_MODULES)
    return found and shutil.which("go") is not None


def _go_version() -> str:
    return subprocess.run(["go", "version"], check=True, capture_output=True, text=True).stdout.strip()


def _compile(target: Path, source: Path, *libraries: str) -> Path:
    draft = _draft(target)
    return _run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(draft), str(source), *libraries], draft, target)


def _compile_go(target: Path) -> Path:
    flags = Path("/proc/cpuinfo").read_text()
    environment = {
        **os.environ,
        "GOPATH": str(_GOPATH),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOCACHE": str(target.parent / "go-cache"),
        # Newer processors' instructions, where they are: the C compilers' libraries choose them at run time too.
        "GOAMD64": "v3" if " avx2 " in flags and " bmi2 " in flags else "v1",
    }
    draft = _draft(target)
    return _run(["go", "build", "-o", str(draft), "."], draft, target, cwd=SOURCES / "go_peer", env=environment)


def _draft(target: Path) -> Path:
    """Its own name a process: two may build at once, and a program that runs cannot be written to."""
    return target.with_name(f"{target.name}.{os.getpid()}")


def _run(
    command: list[str], draft: Path, target: Path, *, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Path:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=env)
    if done.returncode != 0:
        raise BuildUnavailableError(f"{' '.join(command)}: {done.stderr.strip()}")
    return draft.replace(target)
