"""Rate limits: what they let through, what they refuse and until when, whose address counts, and what they cost."""

import subprocess
import sys
import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from otel_feedback._guard import forget_warnings
from otel_feedback.capture import limits
from otel_feedback.capture.limits import Limiter, RateLimits, address_key, proxy_options
from otel_feedback.capture.problems import Problem
from otel_feedback.exceptions import ConfigurationError

OPEN = RateLimits(handle=None, address=None, overall=None)


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock that stands."""
    return Clock()


def refusal(check, *arguments, **named):
    """The problem that a check raises, or None."""
    try:
        check(*arguments, **named)
    except Problem as problem:
        return problem
    return None


def passed(check, times, *arguments):
    """How many of so many checks pass."""
    return sum(refusal(check, *arguments) is None for _ in range(times))


def test_a_handle_is_judged_so_often_and_no_oftener_until_its_window_ends(clock):
    """Retries count, since they are checked as well; another answer has a count of its own."""
    limiter = Limiter(RateLimits(handle="3/minute"), clock=clock)
    assert passed(limiter.check_handle, 5, 1, 2) == 3
    assert passed(limiter.check_handle, 5, 1, 3) == 3
    assert passed(limiter.check_handle, 5, 2, 2) == 3
    clock.now += 59.9
    assert passed(limiter.check_handle, 5, 1, 2) == 0
    clock.now += 0.1
    assert passed(limiter.check_handle, 5, 1, 2) == 3


def test_an_address_sends_so_often_and_no_oftener(clock):
    """Others aren't concerned."""
    limiter = Limiter(RateLimits(address="2/second"), clock=clock)
    assert passed(limiter.check_client, 5, "192.0.2.1") == 2
    assert passed(limiter.check_client, 5, "192.0.2.2") == 2
    clock.now += 1
    assert passed(limiter.check_client, 5, "192.0.2.1") == 2


def test_all_together_send_so_often_and_no_oftener(clock):
    """Whoever they are, those without an address too."""
    limiter = Limiter(RateLimits(overall="3/second"), clock=clock)
    assert [refusal(limiter.check_client, address) is None for address in ("192.0.2.1", "192.0.2.2", None, None)] == [
        True,
        True,
        True,
        False,
    ]


def test_who_is_refused_alone_takes_nothing_from_the_others(clock):
    """One address that floods doesn't use up what all may send together."""
    limiter = Limiter(RateLimits(address="2/minute", overall="4/minute"), clock=clock)
    assert passed(limiter.check_client, 100, "192.0.2.1") == 2
    assert passed(limiter.check_client, 100, "192.0.2.2") == 2


def test_nothing_is_kept_of_an_address_while_all_together_are_too_many(clock):
    """A flood from everywhere fills no memory."""
    limiter = Limiter(RateLimits(overall="1/minute"), clock=clock)
    assert passed(limiter.check_client, 1, "192.0.2.1") == 1
    for last in range(100):
        assert refusal(limiter.check_client, f"198.51.100.{last}")
    assert len(limiter._address._windows._windows) == 1


@pytest.mark.parametrize(("passing", "after"), [(0, 60), (0.5, 60), (1, 59), (58.7, 2), (59.5, 1), (59.999, 1)])
def test_a_refusal_says_when_to_come_again(clock, passing, after):
    """429 in whole seconds, at least one, and after them it is let in."""
    limiter = Limiter(RateLimits(handle="1/minute"), clock=clock)
    limiter.check_handle(1, 2)
    clock.now += passing
    problem = refusal(limiter.check_handle, 1, 2)
    assert problem.status == 429
    assert problem.headers == {"Retry-After": str(after)}
    assert "same id" in problem.detail
    clock.now += after
    assert refusal(limiter.check_handle, 1, 2) is None


@pytest.mark.parametrize("name", ["handle", "address", "overall"])
def test_each_limit_can_be_switched_off(name):
    """None lets any number through."""
    ones = {"handle": "1/hour", "address": "1/hour", "overall": "1/hour"}
    limiter = Limiter(RateLimits(**{**ones, name: None}))
    limiter.check_client("192.0.2.1")
    limiter.check_handle(1, 2)
    assert bool(refusal(limiter.check_handle, 1, 2)) is (name != "handle")
    assert bool(refusal(limiter.check_client, "192.0.2.1")) is True
    assert bool(refusal(limiter.check_client, "192.0.2.2")) is (name != "overall")
    assert passed(Limiter(OPEN).check_client, 1000, "192.0.2.1") == 1000


@pytest.mark.parametrize("name", ["handle", "address", "overall"])
@pytest.mark.parametrize(
    "text", ["", "x", "30", "/minute", "0/minute", "-1/minute", "1/fortnight", "30/minute/x", "30 a minute"]
)
def test_a_limit_that_cannot_be_read_is_found_at_the_start(name, text):
    """And the message says which and how it is written."""
    with pytest.raises(ConfigurationError, match=rf"rate limit \({name}\).*30/minute"):
        RateLimits(**{name: text})


@pytest.mark.parametrize("text", ["30/minute", "30 per minute", "30/5 minutes", "1/day", "100 per 10 second"])
def test_a_limit_may_be_written_in_several_ways(text):
    """As the limits library reads them."""
    assert RateLimits(handle=text).handle == text


SAME = [
    ("192.0.2.1", "192.0.2.1:4711"),
    ("192.0.2.1", "::ffff:192.0.2.1"),
    ("192.0.2.1", "[::ffff:192.0.2.1]:80"),
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
    ("2001:db8:1:2::1", "[2001:db8:1:2::9]:443"),
    ("2001:db8:1:2::1", "2001:0DB8:0001:0002::1"),
    ("fe80::1%eth0", "fe80::2%eth1"),
    ("unknown", "_hidden"),
    ("unknown", ""),
    ("unknown", "testclient"),
    ("unknown", "192.0.2.1.5"),
    ("unknown", "x" * 60_000),
    ("unknown", "[" + ":" * 40),
]
OTHER = [
    ("192.0.2.1", "192.0.2.2"),
    ("2001:db8:1:2::1", "2001:db8:1:3::1"),
    ("::1", "0.0.0.1"),
    ("192.0.2.1", "unknown"),
    ("c000:201::", "192.0.2.1"),
]


@pytest.mark.parametrize(
    ("one", "other", "same"), [(*pair, True) for pair in SAME] + [(*pair, False) for pair in OTHER]
)
def test_whose_count_an_address_is(one, other, same):
    """One IPv4 address, however written; the /64 of an IPv6 one; all that is no address together."""
    assert (address_key(one) == address_key(other)) is same


@given(st.text(max_size=100) | st.text("0123456789abcdef:.[]%", max_size=50))
def test_any_text_is_an_address_of_somebody(text):
    """Whatever a proxy writes, it is counted under a short key, and nothing is raised."""
    assert 0 < len(address_key(text)) <= 16


def test_a_million_senders_fill_no_memory(monkeypatch, clock):
    """The windows that began first are forgotten; who sends now is counted right."""
    monkeypatch.setattr(limits, "MOST_WINDOWS", 500)
    limiter = Limiter(RateLimits(handle="2/hour", address="2/hour"), clock=clock)
    for number in range(2_000):
        limiter.check_client(f"10.0.{number >> 8}.{number & 255}")
        limiter.check_handle(number + 1, 1)
    assert len(limiter._address._windows._windows) == 500
    assert len(limiter._handle._windows._windows) == 500
    assert passed(limiter.check_client, 5, "10.0.7.207") == 1, "the last one has sent once"
    assert passed(limiter.check_client, 5, "10.0.0.0") == 2, "the first one is forgotten"


def test_the_memory_of_full_counts_is_measured():
    """With as many senders and handles as are counted at once, and ten times as many trying: less than 100 MiB."""
    code = (
        "from otel_feedback.capture.limits import Limiter, RateLimits\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096 / 2**20\n"
        "limiter = Limiter(RateLimits(overall=None))\n"
        "before = rss()\n"
        "for i in range(300_000):\n"
        "    limiter.check_client(f'2001:db8:{i >> 16:x}:{i & 65535:x}::1')\n"
        "    limiter.check_handle((i + 1) << 90, i)\n"
        "print(rss() - before)\n"
    )
    grown = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert grown < 100


def test_a_window_that_has_ended_makes_room_for_itself(clock):
    """Who comes again after a while is moved to the end, and isn't forgotten first."""
    windows = limits._Windows(clock)
    windows.incr("a", 60)
    windows.incr("b", 60)
    clock.now += 61
    assert windows.incr("a", 60) == 1
    assert list(windows._windows) == ["b", "a"]


def test_the_storage_is_one_that_the_library_can_use(clock):
    """What it asks of a storage, beyond what is used here."""
    windows = limits._Windows(clock)
    assert windows.check()
    windows.incr("a", 60)
    windows.incr("b", 60)
    windows.clear("a")
    assert (windows.get("a"), windows.get("b")) == (0, 1)
    assert windows.reset() == 1
    assert windows.get_expiry("b") > 0
    windows._forget_first()
    assert issubclass(windows.base_exceptions, ValueError)


def test_no_thread_is_started(monkeypatch):
    """None is left for a fork to lose, and none wakes up to clean."""

    def start(self):
        raise AssertionError("a thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    limiter = Limiter(RateLimits())
    limiter.check_client("192.0.2.1")
    limiter.check_handle(1, 2)


def test_threads_may_check_at_once():
    """Counts may be off by a little, and nothing is raised."""
    limiter = Limiter(RateLimits(handle="100000/hour", address=None))
    errors = []

    def check():
        try:
            for number in range(5_000):
                limiter.check_handle(number % 7 + 1, 1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(window[1] for window in limiter._handle._windows._windows.values()) > 35_000


@pytest.mark.parametrize(("proxied", "forwarded", "said"), [(False, True, 1), (False, False, 0), (True, True, 0)])
def test_a_proxy_that_is_not_named_is_told_in_the_log(caplog, proxied, forwarded, said):
    """All its clients are one address then: the log says what to set, once."""
    forget_warnings()
    limiter = Limiter(RateLimits(address="1/hour"), proxied=proxied)
    limiter.check_client("192.0.2.1", forwarded=forwarded)
    assert caplog.text == ""
    for _ in range(3):
        assert refusal(limiter.check_client, "192.0.2.1", forwarded=forwarded)
    assert caplog.text.count("--trusted-proxy") == said
    assert "192.0.2.1" not in caplog.text


def test_without_trusted_proxies_nobody_is_believed(monkeypatch):
    """Neither this machine nor what uvicorn's variable names, which is what uvicorn does by default."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert proxy_options([]) == {"proxy_headers": False, "forwarded_allow_ips": []}


@pytest.mark.parametrize(
    "text", ["*", "", "proxy.example.com", "10.0.0.0/33", "0.0.0.0/0", "::/0", "10.0.0.1:80", "10.0.0.1,10.0.0.2"]
)
def test_a_trusted_proxy_that_is_none_is_found_at_the_start(text):
    """A name is what uvicorn would take it for, and never say so."""
    with pytest.raises(ConfigurationError, match="trusted proxy"):
        proxy_options([text])


FORWARDED = {
    "one client": (["203.0.113.9"], "203.0.113.9"),
    "what a client wrote stands first": (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
    "a client that claims to be a proxy": (["198.51.100.1, 10.0.0.5, 203.0.113.9"], "203.0.113.9"),
    "a chain of proxies": (["6.6.6.6, 203.0.113.9, 10.0.0.5, 10.0.0.6"], "203.0.113.9"),
    "two headers": (["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
    "a port": (["203.0.113.9:4711"], "203.0.113.9"),
    "a proxy with a port": (["6.6.6.6, 203.0.113.9, 10.0.0.5:80"], "203.0.113.9"),
    "an IPv6 client": (["2001:db8::1"], "2001:db8::"),
    "an IPv6 client with a port": (["[2001:db8::1]:4711"], "2001:db8::"),
    "an IPv6 proxy": (["6.6.6.6, 203.0.113.9, fd00::7"], "203.0.113.9"),
    "garbage before": (["<script>, 203.0.113.9"], "203.0.113.9"),
    "garbage": (["<script>"], "unknown"),
    "unknown": (["unknown"], "unknown"),
    "very long": (["x" * 60_000], "unknown"),
    "nothing": ([""], "10.0.0.1"),
    "no header": ([], "10.0.0.1"),
}


async def counted(peer, forwarded, trusted):
    """Whose count a request is, sent by a peer with such headers to a server with such proxies."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    options = proxy_options(trusted)
    if options["proxy_headers"]:
        app = ProxyHeadersMiddleware(app, trusted_hosts=options["forwarded_allow_ips"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 1)), base_url="http://a") as http:
        await http.get("/", headers=[("x-forwarded-for", one) for one in forwarded])
    return address_key(seen[0])


@pytest.mark.parametrize(("forwarded", "client"), FORWARDED.values(), ids=FORWARDED)
async def test_behind_trusted_proxies_the_last_that_is_none_of_them_counts(forwarded, client):
    """Who writes into the header chooses nobody's count but by coming through other proxies."""
    trusted = ["10.0.0.0/8", "fd00::/8"]
    assert await counted("10.0.0.1", forwarded, trusted) == address_key(client)


@pytest.mark.parametrize("trusted", [[], ["10.9.9.9"], ["10.9.0.0/16", "fd00::7"]])
@pytest.mark.parametrize("forwarded", [one for one, _ in FORWARDED.values()], ids=FORWARDED)
@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1"])
async def test_who_is_no_trusted_proxy_is_not_believed(peer, forwarded, trusted):
    """The peer itself counts, whatever it says; this machine is no exception."""
    assert await counted(peer, forwarded, trusted) == peer


async def test_a_network_may_be_named_by_an_address_in_it():
    """As people write it."""
    assert await counted("10.1.2.3", ["203.0.113.9"], ["10.0.0.1/8"]) == "203.0.113.9"
