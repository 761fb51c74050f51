"""``docs/up.md`` is held against the server: every route, option, file and bound is there."""

import inspect
import re
from pathlib import Path

import pytest
import typer
from tests.unit.server_parts import ask, serving
from typer.main import get_command

from otel_feedback.capture import connections
from otel_feedback.cli.up import up
from otel_feedback.intake import wire
from otel_feedback.intake.spans import MAX_ATTRIBUTES, MAX_SPAN
from otel_feedback.server import app, grpc_receiver, http_receiver, live, receiving
from otel_feedback.server.api import Api

TEXT = (Path(__file__).parents[2] / "docs" / "up.md").read_text()


def test_every_route_of_the_api_is_there():
    """With its method, and no other."""
    routes = {route.path: min(route.methods - {"HEAD"}) for route in Api(None, None, None).routes()}
    told = {path: method for method, path in re.findall(r"^\| `(GET|POST) (/api/[a-z/{}]+)", TEXT, re.MULTILINE)}
    assert told == routes


def test_every_option_is_there():
    """By the names that the command has."""
    program = typer.Typer()
    program.command()(up)
    options = {name for each in get_command(program).params for name in (*each.opts, *each.secondary_opts)}
    for name in options - {"--help", "--install-completion", "--show-completion"}:
        assert f"`{name}" in TEXT or f"/{name}" in TEXT, name


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("MiB", wire.MAX_BODY // 2**20),
        ("MiB", wire.MAX_JSON // 2**20),
        ("MiB", MAX_SPAN // 2**20),
        ("MiB", receiving.MAX_IN_FLIGHT // 2**20),
        ("parts", f"{wire.MAX_PARTS:,}"),
        ("objects", f"{wire.MAX_OBJECTS:,}"),
        ("attributes", f"{MAX_ATTRIBUTES:,}"),
        ("s", f"{http_receiver.BODY_SECONDS:g}"),
        ("s", receiving.BUSY_SECONDS),
        ("s", receiving.FULL_SECONDS),
        ("listeners", live.MOST_LISTENERS),
        ("seconds", f"{live.HEARTBEAT_SECONDS:g}"),
        ("connections", connections.MOST_CONNECTIONS),
        ("KiB", connections.MAX_HEAD // 1024),
        ("s,", f"{connections.HEAD_SECONDS:g}"),
        ("s", f"{connections.STALL_SECONDS:g}"),
        ("s", grpc_receiver.GREETING_SECONDS),
        ("s", grpc_receiver.IDLE_SECONDS),
        ("gRPC workers", grpc_receiver.WORKERS),
        ("members", wire.MAX_MEMBERS),
        ("days", app.SESSION_SECONDS // 86_400),
    ],
)
def test_every_bound_is_there(what, value):
    """As the source has it."""
    assert f"{value} {what}" in TEXT


def test_every_file_of_the_folder_is_there(tmp_path):
    """What a server leaves in its folder, with what it is for."""
    with serving(tmp_path / "d"):
        for path in (tmp_path / "d").iterdir():
            assert f"`{path.name}" in TEXT, path.name


def test_every_name_of_the_status_is_there(tmp_path):
    """A reader learns them here."""
    with serving(tmp_path / "d", otlp_grpc=None, otlp_http=None) as server:
        status = ask(server.url, "GET", "/api/status").json()
    names = {*status, *(name for value in status.values() if isinstance(value, dict) for name in value)}
    assert not [name for name in names if f"`{name}`" not in TEXT]


def test_the_help_leads_here():
    """And the page is named as it is called."""
    assert "docs/up.md" in inspect.getdoc(up)
