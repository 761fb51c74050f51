"""The environment of a service that takes part: what ``otel-feedback run`` sets, and never against its owner's will."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from otel_feedback.cli._addresses import is_loopback_url

BATCH_DELAY_MS: Final = 500
"""Milliseconds after which spans leave; OpenTelemetry's own default is five seconds."""

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables by which a user says where spans go."""

CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""Variable by which the official instrumentations record questions and answers."""

HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"
"""Variable that has the token."""

_WITHOUT_CONTENT: Final = {
    "TRACELOOP_TRACE_CONTENT": "false",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
}
"""What keeps it back in the families of instrumentations that record it by default."""

_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_COMMON: Final = frozenset({"app", "main", "server", "service", "manage", "wsgi", "asgi", "run", "start", "src", "api"})
"""Names of files that say nothing about a service: then its folder does."""

_RUNNERS: Final = frozenset({"uvicorn", "hypercorn", "gunicorn", "granian", "daphne", "waitress-serve"})
"""Programs whose argument names the application as ``module:name``."""

_APPLICATION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(.*\))?")


def make_environment(
    environ: Mapping[str, str],
    *,
    url: str,
    status: Mapping[str, Any] | None,
    keys: Path | None,
    name: str,
    token: str | None = None,
    may_have_content: bool = True,
) -> dict[str, str]:
    """Return what to add to a service's environment; nothing that it has already.

    Args:
        environ: What the user has set; an empty value counts as not set.
        url: Of the server.
        status: What the server says of itself; ``None`` where none answers.
        keys: File with the keys of the handles; ``None`` where only the user can know them.
        name: ``service.name``, unless the user gives one.
        token: Of a server that asks for one.
        may_have_content: Whether questions and answers may go to that server, if it keeps them.
    """
    given = {variable for variable, value in environ.items() if value.strip()}
    local = is_loopback_url(url)
    wanted: dict[str, str] = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": str(BATCH_DELAY_MS),
    }
    is_elsewhere = bool(given.intersection(ENDPOINTS))
    if not is_elsewhere:
        wanted |= _endpoint(environ, url, status or {}, token=token)
    if keys is not None and not given & {"OTEL_FEEDBACK_HANDLE_KEYS", "OTEL_FEEDBACK_HANDLE_KEYS_FILE"}:
        wanted["OTEL_FEEDBACK_HANDLE_KEYS_FILE"] = str(keys)
    if "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        wanted["OTEL_SERVICE_NAME"] = name
    if not is_elsewhere or _is_at(environ, url, status or {}):
        if local and may_have_content and (status or {}).get("content", "kept") == "kept":
            wanted |= {CONTENT: "span_only", "OTEL_FEEDBACK_CAPTURE_TEXT": "true"}
        elif CONTENT not in given:
            wanted |= _WITHOUT_CONTENT
    added = {variable: value for variable, value in wanted.items() if variable not in given}
    return added | (_past_proxies(environ, url) if local else {})


def _endpoint(environ: Mapping[str, str], url: str, status: Mapping[str, Any], *, token: str | None) -> dict[str, str]:
    protocol = next((environ[variable] for variable in _PROTOCOLS if environ.get(variable, "").strip()), "")
    grpc = status.get("otlp_grpc")
    if protocol.strip() == "grpc" and isinstance(grpc, str):
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": grpc if "://" in grpc else f"http://{grpc}"}
    else:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    if token is not None:
        endpoint[HEADERS] = f"authorization={quote(f'Bearer {token}')}"
    return endpoint


def _is_at(environ: Mapping[str, str], url: str, status: Mapping[str, Any]) -> bool:
    """Whether the endpoints that a user has set are the server's own, as it prints them."""
    own = {url, *(str(status[name]) for name in ("url", "otlp_http", "otlp_grpc") if status.get(name))}
    places = {one.rpartition("://")[2].rstrip("/") for one in own}
    given = [environ[variable].strip() for variable in ENDPOINTS if environ.get(variable, "").strip()]
    return all(one.rpartition("://")[2].removesuffix("/v1/traces").rstrip("/") in places for one in given)


def _past_proxies(environ: Mapping[str, str], url: str) -> dict[str, str]:
    """Add the server to those that no proxy is asked for; one on this machine can't be reached through any."""
    if not any(environ.get(name) or environ.get(name.upper()) for name in ("http_proxy", "https_proxy", "all_proxy")):
        return {}
    host = urlsplit(url).hostname or ""
    kept = [environ[name] for name in ("no_proxy", "NO_PROXY") if environ.get(name)]
    if any(host in each.replace(" ", "").split(",") or each.strip() == "*" for each in kept):
        return {}
    value = ",".join([*kept[:1], host])
    return {"no_proxy": value, "NO_PROXY": value}


def name_service(command: Sequence[str], folder: Path) -> str:
    """Return a name for a service: its script's or module's, unless that says nothing; then its folder's.

    Args:
        command: As it is typed: ``python shop.py``, ``python -m shop``, ``uvicorn shop.app:app``, ...
        folder: Where it is typed.
    """
    program = Path(command[0]).name if command else ""
    candidate = ""
    if program.startswith("python"):
        candidate = _script(command[1:])
    elif program in _RUNNERS:
        candidate = _application(command[1:])
    for part in (each for each in candidate.split(".") if each):
        if part not in _COMMON and not part.startswith("__"):
            return part
    return folder.resolve().name or "service"


def _script(words: Sequence[str]) -> str:
    rest = iter(words)
    for word in rest:
        if word == "-m":
            module = next(rest, "")
            return _application(list(rest)) if module in _RUNNERS else module
        if word == "-c":
            return ""
        if word in ("-W", "-X"):
            next(rest, "")
        elif not word.startswith("-"):
            return Path(word).stem
    return ""


def _application(words: Sequence[str]) -> str:
    return next((word.partition(":")[0] for word in words if _APPLICATION.fullmatch(word)), "")
