"""The door: which names are answered, what pages of other origins may not do, and who needs the token."""

import asyncio
import contextlib
import json
import socket

import grpc
import pytest
from starlette.responses import PlainTextResponse
from tests.unit.server_parts import (
    FREE,
    METHODS,
    PROTOBUF,
    RefusedError,
    ask,
    call,
    connect,
    export,
    free_options,
    post,
    request,
    serving,
)

from otel_feedback.exceptions import ConfigurationError, StoreError
from otel_feedback.intake import MAX_BODY
from otel_feedback.server import app as server_app
from otel_feedback.server.door import Door, Hosts, host_of
from otel_feedback.server.options import Address, ServerOptions, default_data
from otel_feedback.server.token import COOKIE, Token
from otel_feedback.server.up import Embedded

TOKEN = Token("t" * 43)
BEARER = ("authorization", f"Bearer {TOKEN.secret}")
SESSION = ("cookie", f"other=1; {COOKIE}={TOKEN.session}")
LOCAL, FAR = Address("127.0.0.1", 80), Address("192.0.2.1", 80)
LOCAL_NAMES = ["localhost", "LOCALHOST:8484", "localhost.:80", "a.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:80"]
REBOUND = ["evil.example", "evil.example:8484", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a:b:c"]


def door(address=LOCAL, *, allowed=()):
    """A door to an application that answers everything."""
    hosts = Hosts(address, allowed)
    return Door(PlainTextResponse("in"), hosts=hosts, token=TOKEN, is_local=address.is_loopback)


def status(path, *headers, address=LOCAL, method="GET", host="localhost", allowed=()):
    """The status of an answer."""
    return call(door(address, allowed=allowed), method=method, path=path, headers=[("host", host), *headers])[0]


@pytest.mark.parametrize("path", ["/", "/v1/traces", "/v1/feedback", "/healthz", "/api/status", "/static/a.js"])
@pytest.mark.parametrize("host", REBOUND)
def test_a_name_that_is_not_ours_gets_nothing(path, host):
    """A page whose name leads to this machine since a moment ago still says its name, wherever it asks."""
    assert status(path, host=host) == 421
    assert status(path, BEARER, host=host, address=FAR) == 421


@pytest.mark.parametrize("host", LOCAL_NAMES)
def test_names_of_this_machine_are_answered(host):
    """Whatever the port is called."""
    assert status("/", host=host) == 200


def test_a_request_names_one_host():
    """None, and two, are no name."""
    assert host_of([]) is None
    assert host_of(["localhost", "localhost"]) is None
    assert call(door(), method="GET", path="/", headers=[])[0] == 421


def test_other_names_are_answered_where_they_are_allowed():
    """By name, or any; and then the token is asked for, since the name leads here from elsewhere."""
    for allowed in (["votes.example.com"], ["*"]):
        assert status("/", host="votes.example.com", allowed=allowed) == 401
        assert status("/", BEARER, host="votes.example.com:443", allowed=allowed) == 200
    assert status("/healthz", host="other.example.com", allowed=["votes.example.com"]) == 421


def test_numbers_are_answered_where_other_machines_reach_it():
    """Nobody can rebind a number; on loopback none but its own leads here."""
    assert status("/", BEARER, host="198.51.100.7:80", address=FAR) == 200
    assert status("/", BEARER, host="[2001:db8::1]", address=FAR) == 200
    assert status("/", host="198.51.100.7") == 421


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost", "null", ""])
def test_pages_send_no_telemetry(path, origin):
    """Not with the token either: no page has a reason to."""
    assert status(path, ("origin", origin), method="POST") == 403
    assert status(path, ("origin", origin), BEARER, method="POST", address=FAR) == 403


@pytest.mark.parametrize(("site", "expected"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
def test_pages_of_other_origins_do_not_ask_the_api(site, expected):
    """Our own do; programs say nothing of a site."""
    assert status("/api/answers", ("sec-fetch-site", site)) == expected
    assert status("/", ("sec-fetch-site", site)) == 200, "links from other pages lead here"


FOREIGN = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("origin", "http://evil.example"),
    ("origin", "null"),
    ("origin", "http://localhost.evil.example"),
]


@pytest.mark.parametrize("header", FOREIGN)
def test_pages_of_other_origins_neither_sign_in_nor_out(header):
    """A link to the sign-in may be anywhere."""
    for path in ("/logout", "/login"):
        assert status(path, header, method="POST") == 403
        assert (
            status(path, ("origin", "https://LOCALHOST:8443"), ("sec-fetch-site", "same-origin"), method="POST") == 200
        )
    assert status("/login", header) == 200


MATRIX = {
    "/": {"local": 200, "far": 401, "session": 200, "bearer": 200},
    "/answers": {"local": 200, "far": 401, "session": 200, "bearer": 200},
    "/logout": {"local": 200, "far": 401, "session": 200, "bearer": 200},
    "/api/status": {"local": 200, "far": 401, "session": 200, "bearer": 200},
    "/api/live": {"local": 200, "far": 401, "session": 200, "bearer": 200},
    "/v1/traces": {"local": 200, "far": 401, "session": 401, "bearer": 200},
    "/v1/logs": {"local": 200, "far": 401, "session": 401, "bearer": 200},
    "/v1/metrics": {"local": 200, "far": 401, "session": 401, "bearer": 200},
    "/api/db/info": {"local": 401, "far": 401, "session": 401, "bearer": 200},
    "/api/db/backup": {"local": 401, "far": 401, "session": 401, "bearer": 200},
    "/v1/feedback": {"local": 200, "far": 200, "session": 200, "bearer": 200},
    "/v1/widget.js": {"local": 200, "far": 200, "session": 200, "bearer": 200},
    "/healthz": {"local": 200, "far": 200, "session": 200, "bearer": 200},
    "/login": {"local": 200, "far": 200, "session": 200, "bearer": 200},
    "/static/site.css": {"local": 200, "far": 200, "session": 200, "bearer": 200},
}


@pytest.mark.parametrize("path", MATRIX)
def test_who_needs_the_token(path):
    """On this machine only what looks after files; elsewhere all but capture and what a sign-in needs."""
    assert status(path) == MATRIX[path]["local"]
    assert status(path, address=FAR) == MATRIX[path]["far"]
    assert status(path, SESSION, address=FAR) == MATRIX[path]["session"]
    assert status(path, BEARER, address=FAR) == MATRIX[path]["bearer"]
    if path.startswith("/api/db/"):
        assert status(path, SESSION) == 401, "a page of ours can't do it either"
        assert status(path, BEARER) == 200


@pytest.mark.parametrize(
    "wrong",
    [
        ("authorization", "Bearer"),
        ("authorization", f"Bearer {TOKEN.secret}x"),
        ("authorization", f"Basic {TOKEN.secret}"),
        ("authorization", f"Bearer {TOKEN.session}"),
        ("authorization", "Bearer \u00e9"),
        ("cookie", f"{COOKIE}={TOKEN.secret}"),
        ("cookie", "a b;;=\\"),
    ],
)
def test_what_is_not_the_token_opens_nothing(wrong):
    """The cookie is not the token, nor the other way round."""
    assert status("/api/status", wrong, address=FAR) == 401


PROXIES = [
    "Forwarded",
    "X-Forwarded-For",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
    "CF-Connecting-IP",
]


@pytest.mark.parametrize("name", PROXIES)
def test_what_a_proxy_passes_on_needs_the_token(name):
    """Its connection is of this machine, whoever sent it is not."""
    assert status("/", (name, "1")) == 401
    assert status("/v1/traces", (name, "1"), method="POST") == 401
    assert status("/v1/feedback", (name, "1"), method="POST") == 200


@pytest.mark.parametrize("name", PROXIES)
def test_what_a_proxy_passes_on_by_grpc_needs_the_token(local, name):
    """As over HTTP."""
    with grpc.insecure_channel(local.otlp_grpc) as channel:
        send = channel.unary_unary(METHODS["traces"])
        with pytest.raises(grpc.RpcError) as refused:
            send(request(), timeout=30, metadata=[(name.lower(), "1")])
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        token = ("authorization", f"Bearer {local.token}")
        assert send(request(), timeout=30, metadata=[(name.lower(), "1"), token]) == b""
        assert send(request(), timeout=30, metadata=[("x-forward", "1")]) == b""


def test_a_browser_is_led_to_the_sign_in():
    """Pages only; the API says 401 and how."""
    headers = [("host", "192.0.2.1"), ("accept", "text/html,*/*")]
    code, told, _ = call(door(FAR), method="GET", path="/answers/a b", headers=headers)
    assert (code, told["location"]) == (303, "/login?next=/answers/a%20b")
    code, told, body = call(door(FAR), method="GET", path="/api/status", headers=headers)
    assert (code, told["www-authenticate"]) == (401, "Bearer")
    assert json.loads(body)["status"] == 401
    assert call(door(FAR), method="POST", path="/logout", headers=headers)[0] == 401


async def test_nothing_but_http_comes_through():
    """A lifespan is the application's; a WebSocket is nobody's."""
    seen = []

    async def app(scope, *_):
        seen.append(scope["type"])

    guarded = Door(app, hosts=Hosts(LOCAL), token=TOKEN, is_local=True)
    for kind in ("lifespan", "websocket"):
        await guarded({"type": kind}, None, None)
    assert seen == ["lifespan"]


@pytest.mark.parametrize("began", [False, True])
def test_what_the_end_cuts_off_is_to_come_again(began):
    """503 with the time to wait; an answer that has begun is cut off, as nothing else can be said."""

    async def app(scope, receive, send):
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    guarded = Door(app, hosts=Hosts(LOCAL), token=TOKEN, is_local=True)
    if began:
        with pytest.raises(asyncio.CancelledError):
            call(guarded, headers=[("host", "localhost")])
    else:
        status, headers, _ = call(guarded, headers=[("host", "localhost")])
        assert (status, headers["retry-after"]) == (503, "1")


def test_the_token_is_made_once_and_only_for_its_owner(tmp_path):
    """Mode 0600, long, and the same at the next start, with the mode put right."""
    token = Token.of(tmp_path)
    file = tmp_path / "token"
    assert len(token.secret) >= 43
    assert token.secret not in repr(token)
    file.chmod(0o644)
    assert Token.of(tmp_path) == token
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"short", b"with spaces " * 5, b"\xff" * 50])
def test_a_file_that_holds_no_token_is_named(tmp_path, content):
    """With what to do, and without what it holds."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(StoreError, match=r"token .* Remove the file"):
        Token.of(tmp_path)


def test_a_browser_signs_in_and_out(tmp_path, monkeypatch):
    """The token becomes a cookie that scripts and other sites don't have; OTLP and gRPC ask for the token itself."""
    monkeypatch.setattr(Address, "is_loopback", False)
    with serving(tmp_path / "d") as server:
        host = server.url.removeprefix("http://")
        monkeypatch.undo()
        page = ask(server.url, "GET", "/login?next=/answers", accept="text/html")
        assert page.status == 200
        assert b'value="/answers"' in page.body
        wrong = ask(server.url, "POST", "/login", "token=wrong&next=/answers")
        assert (wrong.status, wrong.headers["set-cookie"]) == (401, None)
        right = ask(server.url, "POST", "/login", f"token={server.token}&next=/answers")
        assert (right.status, right.headers["location"]) == (303, "/answers")
        cookie = right.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert server.token not in cookie
        session = cookie.partition(";")[0]
        assert ask(server.url, "GET", "/", accept="text/html").status == 303
        assert ask(server.url, "GET", "/", cookie=session, host=host).status == 200
        out = ask(server.url, "POST", "/logout", cookie=session)
        assert (out.status, out.headers["location"]) == (303, "/login")
        assert f'{COOKIE}=""' in out.headers["set-cookie"]
        assert ask(server.url, "POST", "/login", "a" * 5_000).status == 413

        assert post(server.otlp_http, request()).status == 401
        assert post(server.otlp_http, request(), authorization=f"Bearer {server.token}").status == 200
        for token in (None, "Bearer wrong"):
            with pytest.raises(RefusedError) as refused:
                export(server.otlp_grpc, request(), token=token)
            assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
            assert server.token not in str(refused.value)
            # Not even that it is too large is seen of a message, since nothing of it is read.
            with pytest.raises(RefusedError) as refused:
                export(server.otlp_grpc, bytes(MAX_BODY + 1), token=token)
            assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
        assert export(server.otlp_grpc, request(), token=f"Bearer {server.token}") == b""


def test_behind_tls_a_browser_keeps_the_cookie_from_other_ways(local):
    """The proxy says which way it was."""
    for scheme, secure in (("https", True), ("http", False)):
        answer = ask(local.url, "POST", "/login", f"token={local.token}", x_forwarded_proto=scheme)
        assert ("; Secure" in answer.headers["set-cookie"]) is secure


def test_a_form_that_does_not_come_is_not_waited_for(local, monkeypatch):
    """Anybody may send one."""
    monkeypatch.setattr(server_app, "FORM_SECONDS", 0.1)
    with contextlib.closing(connect(local.url)) as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nt")
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_a_name_that_only_looks_like_this_machine_is_refused(tmp_path, monkeypatch):
    """It would be reached from everywhere, without a token."""
    found = socket.getaddrinfo("0.0.0.0", 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ConfigurationError, match=r"--listen: shop\.localhost is no address of this machine alone"):
        Embedded(free_options(tmp_path / "d", listen=Address("shop.localhost", 0))).__enter__()


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/\u00e9", ""])
def test_a_sign_in_leads_nowhere_else(tmp_path_factory, local, path):
    """Another host, a broken header: instead of them the first page."""
    from urllib.parse import urlencode

    answer = ask(local.url, "POST", "/login", urlencode({"token": local.token, "next": path}))
    assert (answer.status, answer.headers["location"]) == (303, "/")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A server that only this machine reaches."""
    with serving(tmp_path_factory.mktemp("data") / "d") as server:
        yield server


def test_every_listener_has_the_door(local):
    """Both ports of HTTP refuse foreign names and telemetry of pages."""
    for url in (local.url, local.otlp_http):
        assert ask(url, "GET", "/healthz", host="evil.example").status == 421
        answer = post(url, request(), origin="http://localhost:3000")
        assert (answer.status, answer.json()["title"]) == (403, "Forbidden")
        assert post(url, request(), content_type=PROTOBUF).status == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:5173", True),
        ("https://chat.example.com", True),
        ("http://localhost.evil.example", False),
        ("http://evil.example", False),
        ("null", False),
    ],
)
def test_pages_of_this_machine_may_vote(tmp_path, origin, allowed):
    """And those that were allowed; no other page is answered with leave."""
    with serving(tmp_path / "d", allow_origins=("https://chat.example.com",), otlp_grpc=None, otlp_http=None) as server:
        asks = {"origin": origin, "access_control_request_method": "POST"}
        answer = ask(server.url, "OPTIONS", "/v1/feedback", **asks)
        assert answer.headers["access-control-allow-origin"] == (origin if allowed else None)
        assert ask(server.url, "GET", "/api/status", origin=origin).headers["access-control-allow-origin"] is None


def test_every_page_may_load_the_widget(tmp_path):
    """It is served beside capture, without a token, to pages of any origin."""
    with serving(tmp_path / "d", otlp_grpc=None, otlp_http=None) as server:
        answer = ask(server.url, "GET", "/v1/widget.js", origin="http://evil.example", sec_fetch_site="cross-site")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("text", ["127.0.0.1", "localhost:", ":80", "a:99999", "::1:80", "http://a:80", "[::g]:1x"])
def test_an_address_that_is_none_is_told_by_its_option(text):
    """With an example."""
    with pytest.raises(ConfigurationError, match=r"--listen must be HOST:PORT, such as"):
        Address.parse(text, option="--listen")


def test_addresses_are_written_as_they_are_read():
    """IPv6 in brackets; every address of a machine by the machine's name."""
    assert str(Address.parse("[::1]:80", option="x")) == "[::1]:80"
    assert Address("::1", 80).url == "http://[::1]:80"
    assert Address("shop.localhost", 80).is_loopback
    assert not Address("shop", 80).is_loopback
    assert "0.0.0.0" not in Address("0.0.0.0", 80).url


@pytest.mark.parametrize("wrong", [{"allow_hosts": ("http://a",)}, {"jaeger_url": "javascript:alert(1)"}])
def test_options_that_cannot_be_used_are_told(tmp_path, wrong):
    """With what they should be."""
    with pytest.raises(ConfigurationError, match=r"such as|example"):
        ServerOptions(data=tmp_path, **wrong)


def test_content_is_kept_where_only_this_machine_sends(tmp_path):
    """Unless it is said otherwise."""
    assert ServerOptions(data=tmp_path).content_kept
    assert not ServerOptions(data=tmp_path, otlp_grpc=FAR).content_kept
    assert ServerOptions(data=tmp_path, listen=FAR, keep_content=True).content_kept
    assert not ServerOptions(data=tmp_path, keep_content=False).content_kept


def test_the_data_folder_is_the_environments_else_the_users():
    """A relative XDG_DATA_HOME is none, as its specification says."""
    assert str(default_data({"OTEL_FEEDBACK_DATA": "/x"})) == "/x"
    assert str(default_data({"XDG_DATA_HOME": "/y"})) == "/y/otel-feedback"
    assert str(default_data({"XDG_DATA_HOME": "y"})).endswith("/.local/share/otel-feedback")


def test_an_origin_that_is_none_ends_the_start(tmp_path):
    """And nothing is left open: the next start on the folder succeeds."""
    with pytest.raises(ConfigurationError, match="origin"):
        Embedded(free_options(tmp_path / "d", allow_origins=("chat.example.com",))).__enter__()
    with serving(tmp_path / "d", otlp_grpc=None, otlp_http=FREE) as server:
        assert server.otlp_grpc is None
