"""An S3 server of our own: SeaweedFS from its wheel, with authentication on, configured, started, awaited and stopped.

Belongs here: the command line, the access keys, readiness, and what a bucket of this product needs (versions, CORS).
Does not belong here: lifecycle rules (they come from the retention policy) and object layout (`pipelines.replay`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.stack import tether
from infra.stack.loopback import HOST, NoFreePortError, free_run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
GRPC_OFFSET = 10_000  # SeaweedFS's own convention: a component's gRPC port is its HTTP port + 10000
COMPONENTS = ("s3", "master", "volume", "filer", "admin")  # one port each, in this order from the first
_PROBE_BUCKET = "restartix-readiness"


def free_ports(preferred: int | None = None) -> int:
    """The first of a run of ports on which SeaweedFS can serve; `preferred` if it can there. Raises NoFreePortError.

    SeaweedFS names its sockets in /tmp by port and ends where it cannot remove one that was left there, so a port whose
    socket is another user's is as good as taken.
    """
    for candidate in (preferred, *[None] * 50):
        first = free_run(len(COMPONENTS), offsets=(0, GRPC_OFFSET), preferred=candidate)
        if all(_is_removable(path) for path in socket_paths(first)):
            return first
    raise NoFreePortError("no ports for SeaweedFS whose sockets in /tmp are not another user's")


def socket_paths(first_port: int) -> list[Path]:
    """Where SeaweedFS puts the sockets of its components, whatever it is told about folders."""
    ports = {component: first_port + step for step, component in enumerate(COMPONENTS)}
    names = [f"seaweedfs-{component}-{port}.sock" for component, port in ports.items()]
    names += [f"seaweedfs-{component}-grpc-{port + GRPC_OFFSET}.sock" for component, port in ports.items()]
    return [Path("/tmp") / name for name in names]


def _is_removable(path: Path) -> bool:
    try:
        return os.geteuid() in (0, path.lstat().st_uid)
    except FileNotFoundError:
        return True


class S3UnavailableError(RuntimeError):
    """No usable server binary, or the server did not start; the message carries what the server said."""


@dataclass(frozen=True, slots=True)
class S3Endpoint:
    """Where an S3 service is and the keys it takes."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str = REGION

    def client(self) -> S3Client:
        """A boto3 client that signs with SigV4 (presigned URLs included) and addresses buckets by path."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        )

    def environment(self) -> dict[str, str]:
        """The variables by which a process of this product, or any AWS tool, is pointed here."""
        return {
            "RESTARTIX_S3_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def accepts_writes(self) -> bool:
        """Whether a PUT is stored now. SeaweedFS listens before it can store, so a connection proves nothing."""
        client = self.client()
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=_PROBE_BUCKET)
            client.put_object(Bucket=_PROBE_BUCKET, Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class S3Server:
    """One SeaweedFS on 127.0.0.1: its folder, the first of its run of ports, and the one key pair it accepts."""

    directory: Path
    first_port: int
    access_key_id: str
    secret_access_key: str = field(repr=False)

    @property
    def endpoint(self) -> S3Endpoint:
        return S3Endpoint(f"http://{HOST}:{self.first_port}", self.access_key_id, self.secret_access_key)

    @property
    def ports(self) -> Mapping[str, int]:
        return {component: self.first_port + step for step, component in enumerate(COMPONENTS)}

    def initialise(self) -> None:
        """Write the identities file: without one SeaweedFS serves anybody, and presigned URLs prove nothing."""
        (self.directory / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = {
            "name": "restartix",
            "credentials": [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        identities = self.directory / "identities.json"
        identities.touch(mode=0o600)
        identities.write_text(json.dumps({"identities": [identity]}))

    def command(self, *, parent_pid: int) -> list[str]:
        """The argument vector that serves the folder, and ends when `parent_pid` (0: its starter) ends."""
        serve = [
            find_weed(),
            "-logtostderr",
            "mini",
            f"-dir={self.directory / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
        ]
        serve += [f"-{component}.port={port}" for component, port in self.ports.items()]
        serve += [
            f"-s3.config={self.directory / 'identities.json'}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=1000",  # by itself it would count free disk, and refuse new buckets on a nearly full one
            "-volume.preStopSeconds=0",
            "-master.electionTimeout=1s",  # it is alone: a restart need not wait 10 s for other masters
            "-webdav=false",
            "-admin.ui=false",
        ]
        return tether.wrap(serve, parent_pid=parent_pid, on_parent_exit=signal.SIGTERM)

    def forget_sockets(self) -> None:
        """Remove the sockets a killed SeaweedFS leaves in the temporary folder."""
        for path in socket_paths(self.first_port):
            with contextlib.suppress(OSError):
                path.unlink()

    @contextlib.contextmanager
    def running(self, *, log: Path, timeout_s: float = 60.0) -> Iterator[S3Endpoint]:
        """Serve inside the block, for data nobody needs afterwards: the end is a kill, not an orderly stop."""
        self.initialise()
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(parent_pid=os.getpid()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env=quiet_environment(self.directory),
            )
        try:
            deadline = time.monotonic() + timeout_s
            while not self.endpoint.accepts_writes():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise S3UnavailableError(
                        f"SeaweedFS did not start on port {self.first_port}:\n{log.read_text()[-2000:]}"
                    )
                time.sleep(0.1)
            yield self.endpoint
        finally:
            process.kill()
            process.wait()
            self.forget_sockets()


def quiet_environment(home: Path) -> dict[str, str]:
    """SeaweedFS reads settings from its environment and home folder: give it neither the user's nor any credentials."""
    return {"HOME": str(home), "PATH": os.defpath, "TMPDIR": tempfile.gettempdir()}


def find_weed() -> str:
    """The wheel's `weed`, else the one on PATH. Raises S3UnavailableError."""
    for directory in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        if (Path(directory) / "weed").exists():
            return str(Path(directory) / "weed")
    on_path = shutil.which("weed")
    if on_path is None:
        raise S3UnavailableError(
            "no SeaweedFS (`weed`) to start. Set S3_ENDPOINT_URL to use an S3 service that runs already."
        )
    return on_path


def prepare_bucket(client: S3Client, bucket: str, *, origins: Sequence[str]) -> None:
    """Create `bucket` if needed; keep versions, and let pages of `origins` read ranges of it. Safe to repeat."""
    with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_cors(
        Bucket=bucket,
        CORSConfiguration={
            "CORSRules": [
                {
                    "AllowedMethods": ["GET", "HEAD"],
                    "AllowedOrigins": list(origins),
                    "AllowedHeaders": ["*"],
                    # The replay viewer fetches one repetition by range and has to see which bytes it got.
                    "ExposeHeaders": ["Content-Range", "Content-Length", "ETag"],
                    "MaxAgeSeconds": 3600,
                }
            ]
        },
    )
