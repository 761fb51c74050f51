"""docker-compose.yml agrees with the files it mounts, the configurations it runs and the versions that are pinned.

No container runs here: this is what can be checked without a Docker daemon.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack.processes import PROMETHEUS_FLAGS

from otel_feedback._keys import Keyring
from stack import versions

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = [name for name, service in SERVICES.items() if service.get("image") == "otel-feedback-example"]
DOCKERFILE = (REPOSITORY / "examples" / "Dockerfile").read_text()
COLLECTOR_CONFIG = (REPOSITORY / "collector" / "config.yaml").read_text()
JAEGER_CONFIG = (REPOSITORY / "stack" / "jaeger.yaml").read_text()

LISTENING = {
    "collector": {4317, 4318, 13133},
    "jaeger": {4317, 16685, 16686},
    "prometheus": {9090},
    "grafana": {3000},
    "provider": {8001},
    "service": {8000},
    "capture": {8002},
}
"""Where each service listens in its container; the tests below hold it against the services' own configuration."""

ASKED_BY_ANOTHER = {"collector": "collector-health"}
"""Services whose image has no program that could ask for its health, and who asks instead."""
ENDING = {"prepare", "users"}
"""Services that end by themselves."""


def text_of(value: Any) -> str:
    """Return everything below a value as one text."""
    return yaml.safe_dump(value)


def environment_read_by(config: str) -> set[str]:
    return set(re.findall(r"\$\{env:(\w+)", config))


def test_docker_compose_accepts_it() -> None:
    """`docker compose config`, where it is installed, finds nothing wrong, with and without the example."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip(
            "docker-compose is not installed (`make system` installs it on Debian): its schema check is left out"
        )
    for profile in ([], ["--profile", "example"]):
        subprocess.run([program, "-f", COMPOSE_FILE, *profile, "config", "-q"], check=True, capture_output=True)


def test_images_are_the_pinned_versions() -> None:
    """Every image is the one that stack/versions.py names, or the example's own."""
    helpers = {"prepare": "prometheus", "collector-health": "prometheus"}
    for name, service in SERVICES.items():
        if name not in EXAMPLE:
            assert service["image"] == versions.IMAGES[helpers.get(name, name)]
    assert re.findall("^FROM (.*)$", DOCKERFILE, re.MULTILINE) == [versions.EXAMPLE_BASE_IMAGE]


def test_ports_are_published_on_this_machine_only() -> None:
    """Each port is bound to 127.0.0.1, is the same outside as inside, and is one where the service listens."""
    published = [(name, port) for name, service in SERVICES.items() for port in service.get("ports", ())]
    for name, port in published:
        host, outside, inside = port.split(":")
        assert host == "127.0.0.1"
        assert outside == inside
        assert int(inside) in LISTENING[name]
    outsides = [port.split(":")[1] for _, port in published]
    assert len(outsides) == len(set(outsides))


def test_services_listen_where_they_are_said_to() -> None:
    """The table of listeners above is what each service's own configuration says."""
    found = {}
    for name, service in SERVICES.items():
        own = text_of([service.get("command"), service.get("environment")])
        ports = re.findall(r"\b0\.0\.0\.0:(\d+)", own) + re.findall(r"--port\s+- '(\d+)'", own)
        found[name] = {int(port) for port in ports}
    found["grafana"] = {3000}  # Grafana's own default
    assert {name: ports for name, ports in found.items() if ports} == LISTENING


def test_every_address_names_a_service_that_listens_there() -> None:
    """Every `host:port` in the services and in Grafana's data sources is a service and one of its ports."""
    sources = (REPOSITORY / "dashboards" / "provisioning" / "datasources" / "otel-feedback.yaml").read_text()
    texts = {name: text_of(service) for name, service in SERVICES.items()} | {"data sources": sources}
    addresses = [
        (name, host, int(port))
        for name, text in texts.items()
        for host, port in re.findall(r"(?<![\w.:/-])(?:http://)?(?!localhost\b)([a-z][a-z-]*):(\d{4,5})\b", text)
    ]
    assert {host for _, host, _ in addresses} >= {"collector", "jaeger", "prometheus", "provider", "service", "capture"}
    for name, host, port in addresses:
        assert port in LISTENING[host], f"{name} asks {host}:{port}"


def test_the_chat_page_reaches_its_capture_as_the_browser_does() -> None:
    """Its settings name published ports of this machine, and capture allows the page's origins, by either name."""
    given = SERVICES["service"]["environment"]
    for setting, name in (("FEEDBACK_URL", "capture"), ("DASHBOARD_URL", "grafana")):
        host, outside, _ = SERVICES[name]["ports"][0].split(":")
        assert given[setting] == f"http://{host}:{outside}"
    _, port, _ = SERVICES["service"]["ports"][0].split(":")
    allowed = [option for option in SERVICES["capture"]["command"] if option.startswith("--allow-origin=")]
    assert allowed == [f"--allow-origin=http://{host}:{port}" for host in ("127.0.0.1", "localhost")]


def test_health_checks_ask_the_service_itself() -> None:
    """Every service that stays has a health check, on a port where it listens; who waits for health can have it."""
    for name in SERVICES.keys() - ENDING:
        asked = ASKED_BY_ANOTHER.get(name, name)
        check = text_of(SERVICES[asked]["healthcheck"]["test"])
        (host, port) = re.findall(r"http://([\w.-]+):(\d+)", check)[0]
        listening = name if host == "127.0.0.1" else host
        assert int(port) in LISTENING[listening]
    for service in SERVICES.values():
        needed = service.get("depends_on", {})
        for other in needed:
            condition = needed[other]["condition"] if isinstance(needed, dict) else "service_started"
            assert condition != "service_healthy" or "healthcheck" in SERVICES[other]


def test_mounted_files_exist() -> None:
    """Every file and folder that is mounted is in the repository, read-only; every named volume is declared."""
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source, _, *mode = volume.split(":")
            if source.startswith("."):
                assert (REPOSITORY / source).exists(), source
                assert mode == ["ro"]
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_the_collector_reads_what_it_is_given() -> None:
    """Every variable given to Collector and Jaeger is one their configuration reads, and no address is left local."""
    for name, config in (("collector", COLLECTOR_CONFIG), ("jaeger", JAEGER_CONFIG)):
        given = SERVICES[name]["environment"]
        read = environment_read_by(config)
        assert set(given) <= read
        local = set(re.findall(r"\$\{env:(\w+):-[^}]*127\.0\.0\.1", config))
        assert local
        assert local <= set(given)
        mounted = [volume.split(":")[1] for volume in SERVICES[name]["volumes"]]
        assert SERVICES[name]["command"][0].removeprefix("--config=") in mounted


def test_volumes_can_be_written() -> None:
    """The Collector's queue is on a volume that is made its user's own first; the example has the same user."""
    queue = SERVICES["collector"]["environment"]["OTEL_FEEDBACK_COLLECTOR_QUEUE"]
    assert f"collector-queue:{queue}" in SERVICES["collector"]["volumes"]
    assert SERVICES["collector"]["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
    assert f"collector-queue:{queue}" in SERVICES["prepare"]["volumes"]
    assert SERVICES["prepare"]["user"] == "root"
    assert f"chown -R 10001:10001 {queue}" in SERVICES["prepare"]["command"][0]
    assert "USER 10001" in DOCKERFILE


def test_the_key_that_is_drawn_is_a_key(tmp_path: Path) -> None:
    """What the preparing service writes is a key of handles; a second start leaves it as it is."""
    script = SERVICES["prepare"]["command"][0].replace("$$", "$").replace("/keys", str(tmp_path))
    script = "chown() { :; }\n" + script
    subprocess.run(["/bin/sh", "-euc", script], check=True)
    written = (tmp_path / "handle").read_text()
    Keyring.from_file(tmp_path / "handle")
    assert (tmp_path / "handle").stat().st_mode & 0o077 == 0
    subprocess.run(["/bin/sh", "-euc", script], check=True)
    assert (tmp_path / "handle").read_text() == written
    for name in ("service", "capture"):
        assert SERVICES[name]["environment"]["OTEL_FEEDBACK_HANDLE_KEYS_FILE"] == "/keys/handle"
        assert "keys:/keys:ro" in SERVICES[name]["volumes"]


def test_prometheus_has_the_flags_of_the_local_one() -> None:
    """The container's Prometheus runs with the flags that `make stack` gives the local one."""
    assert set(PROMETHEUS_FLAGS) <= set(SERVICES["prometheus"]["command"])


def test_grafana_finds_its_dashboards() -> None:
    """The folder that the provisioning names is where the dashboards are mounted."""
    provider = yaml.safe_load(
        (REPOSITORY / "dashboards" / "provisioning" / "dashboards" / "otel-feedback.yaml").read_text()
    )["providers"][0]
    assert f"./dashboards/grafana:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_the_examples_image_has_what_the_example_imports() -> None:
    """Every package that the example imports is installed by its Dockerfile, from the lock file's versions."""
    lock = (REPOSITORY / "requirements" / "dev.lock").read_text()
    installed = re.search(r"pip install ((?:.|\\\n)*?)(?<!\\)\n", DOCKERFILE)
    assert installed
    names = [name for name in installed[1].replace("\\\n", " ").split() if re.fullmatch("[a-z][a-z0-9-]+", name)]
    for name in names:
        assert re.search(rf"^{name}==", lock, re.MULTILINE), name
    files = [*(REPOSITORY / "examples" / "rag_service").glob("*.py"), REPOSITORY / "examples" / "users.py"]
    imported = {
        name for file in files for name in re.findall(r"^(?:import|from) (\w+)", file.read_text(), re.MULTILINE)
    }
    for name in imported & {"fastapi", "openai", "bm25s", "httpx", "httpx_sse", "rich", "numpy"}:
        assert name.replace("_", "-") in names
