"""The widget as it is served: for every page, fresh by one name and for ever by its hash."""

import base64
import gzip
import hashlib

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.unit.capture_http import client

from otel_feedback.capture import widget as served
from otel_feedback.capture.widget import STATIC, WidgetFile, current_widget, widget_routes, widget_snippet

CONTENT = (STATIC / "widget.js").read_bytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:16]


@pytest.fixture
def http():
    """A client of the routes, mounted at ``/feedback``."""
    return client(Starlette(routes=[Mount("/feedback", routes=widget_routes())]))


async def get(http, path, **headers):
    """Ask for a path below the mount."""
    return await http.get(f"/feedback/v1/{path}", headers=headers)


async def test_any_page_may_load_the_newest(http):
    """It is a script for pages of every origin, which browsers look after anew within five minutes."""
    response = await get(http, "widget.js")
    assert (response.status_code, response.content) == (200, CONTENT)
    headers = dict(response.headers)
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "public, max-age=300"
    assert headers["vary"] == "Accept-Encoding"


async def test_it_is_sent_once_and_then_asked_after(http):
    """With its ETag a browser gets 304 and nothing else; each encoding has its own."""
    for encoding in ("gzip", "identity"):
        etag = (await get(http, "widget.js", **{"accept-encoding": encoding})).headers["etag"]
        for asked in (etag, f'W/{etag}, "other"'):
            again = await get(http, "widget.js", **{"accept-encoding": encoding, "if-none-match": asked})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
            assert again.headers["access-control-allow-origin"] == "*"
        assert (await get(http, "widget.js", **{"if-none-match": '"other"'})).status_code == 200
    assert etag == '"' + DIGEST + '"'


async def test_it_is_packed_for_who_can_unpack_it(http):
    """Gzipped where the browser says so, plain elsewhere: the same script."""
    packed = await get(http, "widget.js", **{"accept-encoding": "br, gzip"})
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", CONTENT)
    assert int(packed.headers["content-length"]) == len(gzip.compress(CONTENT, mtime=0))
    plain = await get(http, "widget.js", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(CONTENT)


async def test_by_its_hash_it_never_changes(http):
    """A browser keeps that for a year; another hash is not there."""
    response = await get(http, f"widget-{DIGEST}.js")
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await get(http, f"widget-{'0' * 16}.js")).status_code == 404
    assert (await get(http, "widget-.js")).status_code == 404


async def test_released_builds_are_served_after_an_upgrade(tmp_path, monkeypatch):
    """What pages name by hash stays there beside the new one."""
    old, new = b"export const old = 1;", b"export const now = 2;"
    name = f"widget-{hashlib.sha256(old).hexdigest()[:16]}.js"
    (tmp_path / name).write_bytes(old)
    (tmp_path / "widget.js").write_bytes(new)
    monkeypatch.setattr(served, "STATIC", tmp_path)
    http = client(Starlette(routes=[Mount("/feedback", routes=widget_routes())]))
    assert (await get(http, name)).content == old
    assert (await get(http, "widget.js")).content == new
    assert (await get(http, current_widget().path.removeprefix("/v1/"))).content == new


async def test_it_can_be_asked_for_and_nothing_else(http):
    """HEAD as well as GET, no other method."""
    assert (await http.head("/feedback/v1/widget.js")).headers["etag"]
    assert (await http.post("/feedback/v1/widget.js")).status_code == 405


def test_the_snippet_pins_this_build():
    """Address and integrity are this build's; without the pin it is the newest's address."""
    integrity = base64.b64encode(hashlib.sha384(CONTENT).digest()).decode()
    assert widget_snippet("https://feedback.example.com/") == (
        f'<script type="module" src="https://feedback.example.com/v1/widget-{DIGEST}.js" '
        f'integrity="sha384-{integrity}" crossorigin="anonymous"></script>'
    )
    newest = '<script type="module" src="https://a.example/feedback/v1/widget.js"></script>'
    assert widget_snippet("https://a.example/feedback", pinned=False) == newest


def test_a_package_that_is_not_whole_says_so(tmp_path):
    """Whoever starts capture learns of it, not the first page."""
    with pytest.raises(OSError, match=r"widget\.js"):
        WidgetFile.read(tmp_path / "widget.js")
