"""What a handle does to a response's headers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_feedback import _guard
from otel_feedback.instrumentation import _headers

HANDLE = "h.a.ndle"


@pytest.fixture(autouse=True)
def _strict():
    with _guard.strict():
        yield


def with_handle(*headers):
    return _headers.with_handle(list(headers), HANDLE)


def values(headers, name):
    return [value for key, value in headers if key.lower() == name]


def test_a_bare_response_gets_the_handle_readable_by_scripts_and_private():
    """Without any header of the service, the three that a handle needs are added."""
    assert with_handle() == [
        (b"feedback-handle", b"h.a.ndle"),
        (b"access-control-expose-headers", b"feedback-handle"),
        (b"cache-control", b"private"),
    ]


def test_the_services_headers_stay_as_they_are():
    """Order, spelling and repetitions of all other headers are the service's."""
    own = [(b"Content-Type", b"text/plain"), (b"set-cookie", b"a=1"), (b"X-Zed", b"\xff"), (b"set-cookie", b"b=2")]
    assert with_handle(*own)[:4] == own


def test_the_given_list_is_never_changed():
    """Trap: a framework hands out the live list of a response object, which may be sent to somebody else next."""
    own = [(b"cache-control", b"max-age=5"), (b"feedback-handle", b"old")]
    before = list(own)
    _headers.with_handle(own, HANDLE)
    assert own == before


def test_an_earlier_handle_is_replaced():
    """A response has one handle: the one of this request."""
    assert values(with_handle((b"Feedback-Handle", b"somebody-elses")), b"feedback-handle") == [b"h.a.ndle"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"feedback-handle"]),
        ([b"x-a"], [b"x-a, feedback-handle"]),
        ([b"x-a, x-b", b"x-c"], [b"x-a, x-b, x-c, feedback-handle"]),
        ([b"*"], [b"*, feedback-handle"]),  # with credentials the star is a name like any other
        ([b""], [b"feedback-handle"]),
        ([b"X-A, Feedback-Handle"], [b"X-A, Feedback-Handle"]),
        ([b"x-feedback-handle"], [b"x-feedback-handle, feedback-handle"]),
    ],
)
def test_the_handle_is_added_to_what_the_service_exposes(before, after):
    """Access-Control-Expose-Headers keeps what it lists and has the handle once."""
    given_headers = [(b"access-control-expose-headers", value) for value in before]
    assert values(with_handle(*given_headers), b"access-control-expose-headers") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"private"]),
        ([b""], [b"private"]),
        ([b"max-age=60"], [b"max-age=60, private"]),
        ([b"max-age=60", b"must-revalidate"], [b"max-age=60, must-revalidate, private"]),
        ([b"no-cache"], [b"no-cache, private"]),
        ([b"private"], [b"private"]),
        ([b"Private, max-age=60"], [b"Private, max-age=60"]),
        ([b"max-age=60", b"no-store"], [b"max-age=60", b"no-store"]),
        ([b"public, private"], [b"public, private"]),
        ([b"public, no-store"], [b"public, no-store"]),
        # Only the named fields are private; the rest of the response may be shared.
        ([b'private="set-cookie"'], [b'private="set-cookie", private']),
        ([b'no-cache="a, no-store, b"'], [b'no-cache="a, no-store, b", private']),
        ([b'x="\\", private, "'], [b'x="\\", private, ", private']),
        ([b'ext="a, public, b"'], [b'ext="a, public, b", private']),
    ],
)
def test_what_a_shared_cache_may_keep_is_marked_private(before, after):
    """Cache-Control keeps its directives; private is added unless nothing shared keeps the response anyway."""
    headers = with_handle(*((b"cache-control", value) for value in before))
    assert values(headers, b"cache-control") == after
    assert values(headers, b"feedback-handle") == [b"h.a.ndle"]


@pytest.mark.parametrize(
    "header",
    [
        (b"cache-control", b"public"),
        (b"Cache-Control", b"max-age=1, S-MAXAGE = 60"),
        (b"cdn-cache-control", b"max-age=60"),
        (b"Cloudflare-CDN-Cache-Control", b"max-age=60"),
        (b"surrogate-control", b"max-age=60"),
        (b"akamai-cache-control", b"max-age=60"),
        (b"x-accel-expires", b"60"),
        (b"x-accel-expires", b"@1800000000"),
    ],
)
def test_what_is_given_to_shared_caches_on_purpose_gets_no_handle(header, caplog):
    """One user's handle must not reach another, nor shall the service's caching be undone; one warning says so."""
    for _ in range(2):
        assert with_handle(header, (b"x-a", b"1")) == [header, (b"x-a", b"1")]
    assert len(caplog.records) == 1
    assert "private or no-store" in caplog.text
    assert HANDLE not in caplog.text


@pytest.mark.parametrize(
    "header", [(b"cdn-cache-control", b"no-store"), (b"surrogate-control", b"private"), (b"x-accel-expires", b"0")]
)
def test_a_cdn_that_is_told_to_keep_nothing_is_no_hindrance(header):
    """A header for CDNs that forbids storing leaves the response to its reader."""
    assert values(with_handle(header), b"feedback-handle") == [b"h.a.ndle"]


@pytest.mark.parametrize(
    ("status", "carries"),
    [(101, False), (199, False), (200, True), (206, True), (299, True), (304, False), (500, False)],
)
def test_only_an_answer_carries_a_handle(status, carries):
    """2xx carry one; a 304 would renew the headers that somebody stored, and an error is no answer."""
    assert _headers.may_carry(status) is carries


_token = st.sampled_from(
    ["public", "private", "no-store", "max-age=5", "s-maxage=5", 'private="x"', "immutable", "", "X"]
)


@given(st.lists(st.lists(_token, max_size=4).map(", ".join), max_size=3))
def test_no_combination_of_directives_lets_a_shared_cache_keep_a_handle(lines):
    """Whatever the service says, a response with a handle forbids shared storing, by a directive outside of quotes."""
    _guard.forget_warnings()
    headers = with_handle(*((b"cache-control", line.encode()) for line in lines))
    if values(headers, b"feedback-handle"):
        said = b", ".join(values(headers, b"cache-control")).decode().lower()
        assert re.search(r"(^|[,\s])(private|no-store)\s*(,|$)", said)


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=40)), max_size=6))
def test_any_bytes_of_a_service_pass_through(own):
    """Nothing that a service puts into its headers makes us fail or is lost."""
    changed = {b"feedback-handle", b"access-control-expose-headers", b"cache-control"}
    kept = [pair for pair in own if pair[0].lower() not in changed]
    assert [pair for pair in with_handle(*own) if pair[0].lower() not in changed] == kept
