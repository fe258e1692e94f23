"""The image and the composition: commands that exist, variables that are read, all that are required, who shares what.

What this does not show: that the image builds and the containers start. There was no container engine here.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
import yaml

from core_api.master_key import key_wrapper
from core_api.settings import Settings as CoreApiSettings
from core_api.subscriber.settings import SubscriberSettings
from infra.cli import COMMANDS
from infra.containers import prepare
from infra.containers.health import unhealthy
from infra.stack.logins import ROLE_OF_LOGIN
from infra.stack.throwaway import Bucket, Database
from ingest_service.settings import Settings as IngestSettings
from orchestration.instance import DATABASE_URL as DAGSTER_DATABASE_URL
from orchestration.settings import Pace, Watch, required
from pipelines.adapters.s3.settings import S3Settings
from pipelines.finalise.settings import FinaliserSettings, SweepSettings
from tests.production.environment import Recorded, interpolated, substitute

REPOSITORY = Path(__file__).parents[2]
CONTAINERS = REPOSITORY / "infra" / "containers"
CONTAINERFILE = (CONTAINERS / "Containerfile").read_text()
EXAMPLE = re.findall(r"^(\w+)=", (CONTAINERS / "example.env").read_text(), re.MULTILINE)
GIVEN = {
    **{name: f"secret{place}" for place, name in enumerate(EXAMPLE)},
    "RESTARTIX_PORTAL_ORIGINS": "https://portal.example",
    "RESTARTIX_IDENTITY_JWKS": "https://identity.example/jwks.json",
}
COMPOSITION: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSITION["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "restartix-telemetry"}

Reader = Callable[[Mapping[str, str]], object]


def _core_api(environ: Mapping[str, str]) -> None:
    CoreApiSettings.from_env(environ)
    S3Settings.from_env(environ)
    for name in ("RESTARTIX_KMS_KEY_ID", "RESTARTIX_KEY_FILE"):
        environ.get(name)


def _dagster_code(environ: Mapping[str, str]) -> None:
    Pace.from_env(environ)
    Watch.from_env(environ)
    S3Settings.from_env(environ)
    SweepSettings.from_env(environ)
    required(environ, "RESTARTIX_SWEEPER_DATABASE_URL")
    required(environ, "RESTARTIX_ANALYTICS_DATABASE_URL")
    required(environ, DAGSTER_DATABASE_URL)


def _finaliser(environ: Mapping[str, str]) -> None:
    FinaliserSettings.from_env(environ)
    S3Settings.from_env(environ)


def _dagster(environ: Mapping[str, str]) -> None:
    required(environ, DAGSTER_DATABASE_URL)


def _prepare(environ: Mapping[str, str]) -> None:
    S3Settings.from_env(environ)
    for name in (*prepare.LOGINS, prepare.DAGSTER):
        required(environ, f"RESTARTIX_PASSWORD_{name.upper()}")
    for name in ("RESTARTIX_ADMIN_DATABASE_URL", "RESTARTIX_KEYS_DIR", "RESTARTIX_PORTAL_ORIGINS"):
        required(environ, name)


# What reads a service's environment, and the login it has in PostgreSQL.
READERS: dict[str, tuple[Reader, str | None]] = {
    "s3": (lambda _: None, None),
    "prepare": (_prepare, None),
    "core-api": (_core_api, "core_api"),
    "ingest-1": (IngestSettings.from_env, "ingest"),
    "ingest-2": (IngestSettings.from_env, "ingest"),
    "finaliser-1": (_finaliser, "finaliser"),
    "finaliser-2": (_finaliser, "finaliser"),
    "subscriber": (SubscriberSettings.from_env, "subscriber"),
    "relay": (SubscriberSettings.from_env, "subscriber"),
    "dagster-code": (_dagster_code, "sweeper"),
    "dagster-home": (_dagster, None),
    "dagster-daemon": (_dagster, None),
    "dagster-web": (_dagster, None),
}
# Read by gunicorn's configuration, by the image's health check, and by programs that are not ours.
BY_GUNICORN = {
    room: set(re.findall(r'environ\.\w+\("(\w+)"', (REPOSITORY / room / "gunicorn.conf.py").read_text()))
    for room in ("core_api", "ingest_service")
}
BY_OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY"}


def environment(name: str) -> dict[str, str]:
    return interpolated(OURS[name].get("environment", {}), GIVEN)


def test_every_service_is_known_here() -> None:
    assert set(OURS) == set(READERS)


@pytest.mark.parametrize("name", sorted(OURS))
def test_all_that_a_process_requires_is_set_and_nothing_that_nobody_reads(name: str) -> None:
    environ = Recorded(environment(name))
    READERS[name][0](environ)
    read = environ.asked | {"RESTARTIX_HEALTH"} | BY_OTHERS
    for room, names in BY_GUNICORN.items():
        if f"{room}/gunicorn.conf.py" in OURS[name]["command"]:
            read |= names
    assert set(environ) - read == set()


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_is_one_that_exists(name: str) -> None:
    command = OURS[name]["command"]
    program, *arguments = command
    assert (Path(sys.executable).parent / program).exists()
    if program == "restartix":
        assert arguments[0] in COMMANDS
    for argument in arguments:
        if argument.endswith((".py", ".yaml")):
            assert (REPOSITORY / argument).exists()
        if re.fullmatch(r"\w+(\.\w+)+(:\w+)?", argument) and not argument.endswith((".py", ".yaml")):
            if re.fullmatch(r"[\d.]+", argument):
                continue
            module = argument.partition(":")[0].replace(".", "/")
            assert (REPOSITORY / f"{module}.py").exists()


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_process_has_its_own_login_and_no_other(name: str) -> None:
    environ, login = environment(name), READERS[name][1]
    urls = {key: value for key, value in environ.items() if key.endswith("DATABASE_URL")}
    logins = {re.sub(r"^postgresql://(\w+):.*", r"\1", url) for url in urls.values()}
    more = {
        "core-api": {"console"},
        "dagster-code": {"analytics_builder", "dagster"},
        "dagster-home": {"dagster"},
        "dagster-daemon": {"dagster"},
        "dagster-web": {"dagster"},
        "prepare": {"admin"},
    }
    assert logins == ({login} if login else set()) | more.get(name, set())
    for url in urls.values():
        who, password = re.findall(r"^postgresql://(\w+):(\w+)@", url)[0]
        assert password == GIVEN[f"RESTARTIX_PASSWORD_{who.upper()}"]


def test_what_reaches_which_secret() -> None:
    """Keys are the Core API's; neither ingest nor the subscriber reaches S3; Dagster's pages reach no store."""
    keys = {name for name, service in OURS.items() if any("keys:" in each for each in service.get("volumes", []))}
    assert keys == {"prepare", "core-api"}
    assert "keys:/keys:ro" in OURS["core-api"]["volumes"]
    with_s3 = {name for name in OURS if "AWS_SECRET_ACCESS_KEY" in environment(name)}
    assert with_s3 == {"s3", "prepare", "core-api", "finaliser-1", "finaliser-2", "dagster-code"}


def test_the_relay_and_nats_come_together() -> None:
    for name in ("nats", "relay"):
        assert SERVICES[name]["profiles"] == ["nats"]
    settings = SubscriberSettings.from_env(environment("relay"))
    assert settings.nats is not None
    assert settings.nats.servers == (f"nats://bus:{GIVEN['RESTARTIX_PASSWORD_NATS']}@nats:4222",)
    assert SubscriberSettings.from_env(environment("subscriber")).nats is None
    through = interpolated(OURS["subscriber"]["environment"], {**GIVEN, "RESTARTIX_BUS_URL": "nats://nats:4222"})
    assert SubscriberSettings.from_env(through).nats is not None


@pytest.mark.parametrize("number", [1, 2])
def test_a_finaliser_is_beside_its_nodes_spool(number: int) -> None:
    node, finaliser = f"ingest-{number}", f"finaliser-{number}"
    assert OURS[node]["volumes"] == OURS[finaliser]["volumes"] == [f"node-{number}:/data"]
    for name in ("RESTARTIX_DATA_DIR", "RESTARTIX_NODE_ID"):
        assert environment(node)[name] == environment(finaliser)[name]
    assert environment(finaliser)["RESTARTIX_HEALTH"] == "fresh:60:/data/finaliser.prom"
    # Dagster finds a node's metrics by its id, which is therefore the service's name.
    assert environment(node)["RESTARTIX_NODE_ID"] == node
    assert environment("dagster-code")["RESTARTIX_NODE_METRICS_URL"] == "http://{node_id}:8090/metrics"


def test_what_is_mounted_and_waited_for_is_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSITION["volumes"], name
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if condition["condition"] == "service_healthy" and other in OURS:
                assert "RESTARTIX_HEALTH" in environment(other)


def test_what_prometheus_scrapes_is_served() -> None:
    scraped = yaml.safe_load((REPOSITORY / "infra" / "monitoring" / "prometheus.yaml").read_text())["scrape_configs"]
    for job in scraped:
        for target in job["static_configs"][0]["targets"]:
            service, _, port = target.partition(":")
            assert job["job_name"] in service
            bound = [value for key, value in environment(service).items() if key.endswith("_BIND")]
            assert bound == [f"0.0.0.0:{port}"]


def test_every_secret_is_asked_for_and_none_is_written_down() -> None:
    text = (CONTAINERS / "compose.yaml").read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?\}", text))
    assert wanted == set(EXAMPLE)
    assert all(line.endswith("=") for line in (CONTAINERS / "example.env").read_text().splitlines() if "=" in line)
    with pytest.raises(KeyError, match="RESTARTIX_PASSWORD_INGEST"):
        substitute("${RESTARTIX_PASSWORD_INGEST:?}", {})


@pytest.mark.parametrize("name", sorted(OURS))
def test_containers_are_held_tight(name: str) -> None:
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_images_are_pinned() -> None:
    bases = re.findall(r"^ARG BASE=(\S+)$", CONTAINERFILE, re.MULTILINE)
    others = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert len(bases) == 1
    for image in (*bases, *others):
        assert re.fullmatch(r"docker\.io/library/\w+:\d+\.\d+(\.\d+)?-\w+(-\w+)?", image), image
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]


def test_the_image_is_of_the_lock_and_runs_as_nobody_special() -> None:
    last_stage = CONTAINERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert "--constraint requirements.lock" in CONTAINERFILE
    assert re.findall(r"^CMD (.*)$", last_stage, re.MULTILINE) == ['["restartix", "--help"]']
    ignored = (CONTAINERS / "Containerfile.containerignore").read_text()
    assert ignored == (CONTAINERS / "Containerfile.dockerignore").read_text()
    kept = re.findall(r"^!(\S+)$", ignored, re.MULTILINE)
    assert all((REPOSITORY / each).exists() for each in kept)
    packages = re.findall(r'packages = (\[.*"core_api".*\])', (REPOSITORY / "pyproject.toml").read_text())
    assert set(yaml.safe_load(packages[0])) | {"dbt_project", "pyproject.toml", "requirements.lock"} <= set(kept)


def test_the_health_check() -> None:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answering)
    Thread(target=server.serve_forever, daemon=True).start()
    at, port = f"http://127.0.0.1:{server.server_port}", server.server_port
    try:
        assert unhealthy({"RESTARTIX_HEALTH": f"{at}/healthz"}, 0) is None
        assert "503" in str(unhealthy({"RESTARTIX_HEALTH": f"{at}/readyz"}, 0))
        assert unhealthy({"RESTARTIX_HEALTH": f"tcp:{port}"}, 0) is None
    finally:
        server.shutdown()
        server.server_close()
    assert "refused" in str(unhealthy({"RESTARTIX_HEALTH": f"tcp:{port}"}, 0))
    assert "not understood" in str(unhealthy({"RESTARTIX_HEALTH": "perhaps"}, 0))
    assert unhealthy({}, 0) is None


def test_the_health_check_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "finaliser.prom"
    assert "No such file" in str(unhealthy({"RESTARTIX_HEALTH": f"fresh:60:{path}"}, time.time()))
    path.touch()
    assert unhealthy({"RESTARTIX_HEALTH": f"fresh:60:{path}"}, time.time()) is None
    os.utime(path, (1000, 1000))
    assert unhealthy({"RESTARTIX_HEALTH": f"fresh:60:{path}"}, 1061.0) == f"{path} was written 61 s ago"


def test_empty_stores_are_made_ready_twice_over(
    database: Database, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real servers. Logins and databases belong to the whole server, so those here have names of their own."""
    prefix = f"t{os.getpid()}_"
    roles = {f"{prefix}{login}": ROLE_OF_LOGIN[login] for login in prepare.LOGINS}
    monkeypatch.setattr(prepare, "ROLE_OF_LOGIN", roles)
    monkeypatch.setattr(prepare, "LOGINS", tuple(roles))
    monkeypatch.setattr(prepare, "DAGSTER", f"{prefix}dagster")
    environ = {
        **{f"RESTARTIX_PASSWORD_{name.upper()}": "x1y2" for name in (*roles, prepare.DAGSTER)},
        "RESTARTIX_ADMIN_DATABASE_URL": database.admin_url,
        "RESTARTIX_KEYS_DIR": str(tmp_path),
        "RESTARTIX_S3_ENDPOINT_URL": s3.endpoint_url,
        "RESTARTIX_S3_BUCKET": s3.bucket,
        "RESTARTIX_PORTAL_ORIGINS": "https://portal.example",
    }
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    try:
        once = prepare.prepare(environ)
        again = prepare.prepare(environ)
        assert again == [line for line in once if not line.startswith("applied")]
        assert f"bucket {s3.bucket}: incomplete-uploads" in "\n".join(once)
        with psycopg.connect(database.admin_url, user=f"{prefix}ingest", password="x1y2") as connection:
            assert connection.execute("select pg_has_role(current_user, 'restartix_ingest', 'member')").fetchone() == (
                True,
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select * from telemetry.sessions")
        assert {path.name for path in tmp_path.iterdir()} == {"session.pem", "session.jwks.json", "columns.key"}
        wrapped = key_wrapper({"RESTARTIX_KEY_FILE": str(tmp_path / "columns.key")}).wrap(bytes(32), {"a": "b"})
        assert wrapped.ciphertext != bytes(32)
    finally:
        with psycopg.connect(database.admin_url, autocommit=True) as admin:
            admin.execute(f"drop database if exists {prefix}dagster")
            for name in (*roles, f"{prefix}dagster"):
                admin.execute(f"drop role if exists {name}")


def test_the_documented_command_names_the_files_that_are_there() -> None:
    [line] = re.findall(r"^#   (docker compose .*)$", (CONTAINERS / "compose.yaml").read_text(), re.MULTILINE)
    words = shlex.split(line)
    assert (REPOSITORY / words[words.index("-f") + 1]).exists()
