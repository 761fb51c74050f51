"""The command line as a user runs it: real processes, their output and exit codes."""

import contextlib
import dataclasses
import http.client
import inspect
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import typer
from tests.unit.capture_process import COMMAND, capturing, environment, post, receiving, to

from otel_feedback import _runtime, semconv
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._requirement import requirement
from otel_feedback._settings import Settings
from otel_feedback._version import VERSION
from otel_feedback.capture import RateLimits
from otel_feedback.cli import capture as capture_command
from otel_feedback.server.options import Address
from otel_feedback.testing import TEST_KEYS

DOCUMENT = Path(__file__).parents[2] / "docs" / "capture.md"


def run(*arguments, command=COMMAND, **variables):
    """Run a command to its end."""
    return subprocess.run(
        [*command, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_version_is_the_packages():
    """``--version`` prints name and version."""
    assert run("--version").stdout == f"otel-feedback {VERSION}\n"


@pytest.mark.parametrize("command", [["capture"], ["key", "new"]], ids=" ".join)
def test_help_shows_examples_on_lines_of_their_own(command):
    """Each command's help ends with what to type."""
    done = run(*command, "--help")
    assert done.returncode == 0
    assert re.search(rf"^ +(export \S+\$\()?\"?.*otel-feedback {' '.join(command)}", done.stdout, re.MULTILINE)
    assert "Examples:" in done.stdout


def test_without_a_command_it_shows_which_there_are():
    """Called bare, it lists its commands."""
    done = run()
    assert "capture" in done.stdout + done.stderr
    assert "key" in done.stdout + done.stderr


def test_every_option_of_capture_is_documented():
    """The table in ``docs/capture.md`` has the command's options, each once, with its default."""
    documented = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| `?([^`|]+?)`? \|", DOCUMENT.read_text(), re.MULTILINE))
    parameters = inspect.signature(capture_command.capture).parameters.values()
    rates = {f"rate_{name}": rate for name, rate in dataclasses.asdict(RateLimits()).items()}
    defaults = {p.name: p.default or rates.get(p.name, "none") for p in parameters}
    assert documented == {f"--{name.replace('_', '-')}": default for name, default in defaults.items()}


async def test_the_documented_example_of_mounting_runs():
    """The code in the document works as it stands."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    scope = {}
    _runtime.configure(Settings(handle_keys=TEST_KEYS))
    try:
        exec(code, scope)  # noqa: S102 - our own documentation
    finally:
        _runtime.reset()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(scope["app"]), base_url="http://service") as http:
        assert (await http.get("/feedback/healthz")).status_code == 200


# --- key new ------------------------------------------------------------------------------------------------------


def test_a_new_key_is_one_line_that_works():
    """What it prints is a value for the variable; each is another one."""
    outputs = [run("key", "new").stdout for _ in range(2)]
    assert all(output.count("\n") == 1 for output in outputs)
    keys = [Keyring.from_text(output).keys[0] for output in outputs]
    assert keys[0].kid != keys[1].kid
    assert keys[0].secret != keys[1].secret
    assert keys[0].algorithm == "HS256"


def test_a_key_can_be_given_its_id():
    """For rotation by date, say; an id that no handle could name is refused."""
    assert run("key", "new", "--kid", "2026-11").stdout.startswith("2026-11:HS256:")
    done = run("key", "new", "--kid", "a b")
    assert (done.returncode, done.stdout) == (2, "")


def test_an_eddsa_key_comes_with_one_that_only_verifies():
    """Handles made with the one line are accepted with the other, which makes none itself."""
    done = run("key", "new", "--algorithm", "EdDSA")
    private = HandleCodec(Keyring.from_text(done.stdout))
    public = HandleCodec(Keyring.from_text(done.stderr.strip().rsplit(" ", 1)[1]))
    handle = private.issue(trace_id=1, span_id=2, sampled=True, facts={})
    assert public.read(handle).span_id == 2
    assert not public.can_issue


# --- What is missing or wrong --------------------------------------------------------------------------------------

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if (name + ".").startswith({0!r} + "."):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("typer", ["--help"], "capture"),
        ("uvicorn", ["capture", "--listen", "127.0.0.1:0"], "capture"),
        ("starlette", ["capture", "--listen", "127.0.0.1:0"], "capture"),
        ("cryptography", ["key", "new", "--algorithm", "EdDSA"], "crypto"),
        ("opentelemetry.exporter", ["capture"], "otlp"),
    ],
    ids=["typer", "uvicorn", "starlette", "cryptography", "exporter"],
)
def test_a_missing_part_is_named_with_the_command_that_adds_it(module, arguments, extra):
    """Exit code 1 and one line, no traceback."""
    command = [sys.executable, "-c", WITHOUT.format(module) + COMMAND[2]]
    done = run(*arguments, command=command, OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"pip install {shlex.quote(requirement(extra))}" in done.stderr


@pytest.mark.parametrize("module", ["anyio", "starlette", "pydantic"])
def test_mounting_without_the_extra_names_it_too(module):
    """A service that imports the endpoint gets the same sentence, as an error of ours."""
    code = WITHOUT.format(module) + "import otel_feedback.capture"
    done = run(command=[sys.executable, "-c", code])
    assert done.stderr.strip().splitlines()[-1] == (
        f"otel_feedback.exceptions.MissingExtraError: {module} is not installed. "
        f"Run: pip install {shlex.quote(requirement('capture'))}"
    )


SHORT = "k1:HS256:c2hvcnQ"
REFUSED = [
    ([], {}, "otel-feedback key new"),
    ([], {"OTEL_FEEDBACK_HANDLE_KEYS": SHORT}, "32"),
    ([], {"OTEL_FEEDBACK_HANDLE_KEYS_FILE": "/nowhere/keys"}, "OTEL_FEEDBACK_HANDLE_KEYS_FILE"),
    ([], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS, "OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED"),
    ([], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS, "OTEL_TRACES_EXPORTER": "none"}, "OTEL_TRACES_EXPORTER"),
    ([], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS, "OTEL_TRACES_EXPORTER": "pigeon"}, "OTEL_TRACES_EXPORTER"),
    ([], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS, "OTEL_FEEDBACK_CAPTURE_TEXT": "perhaps"}, "CAPTURE_TEXT"),
    (["--listen", "8485"], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS}, "HOST:PORT"),
    (["--listen", "127.0.0.1:65536"], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS}, "HOST:PORT"),
    (["--allow-origin", "chat.example.com"], {"OTEL_FEEDBACK_HANDLE_KEYS": TEST_KEYS}, "scheme://host"),
    (["--no-such-option"], {}, "No such option"),
]


@pytest.mark.parametrize(("arguments", "variables", "says"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_work_is_said_at_the_start(arguments, variables, says):
    """Exit code 2, the reason and what to do, no traceback and no key in it."""
    done = run("capture", *arguments, **variables)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert SHORT not in done.stderr
    assert TEST_KEYS not in done.stderr


def test_a_port_that_is_taken_ends_it():
    """Exit code 2 and the sentence that `up` has, without a server's log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("capture", "--listen", f"127.0.0.1:{port}", OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS)
    assert done.returncode == 2
    assert done.stderr == (
        f"otel-feedback: 127.0.0.1:{port} is in use by another program. "
        "End it, or choose another address: --listen HOST:PORT.\n"
    )


# --- capture ------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver():
    """A receiver on a free port."""
    with receiving() as server:
        yield server


@pytest.fixture
def start(receiver):
    """Start a capture endpoint that sends to the receiver; gives the process and its port."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **variables: stack.enter_context(capturing(*arguments, **to(receiver), **variables))


def handle_of(keys):
    """A handle of a service with these keys."""
    codec = HandleCodec(Keyring.from_text(keys), clock=time.time)
    return codec.issue(trace_id=0xA1, span_id=0xB2, sampled=True, facts={semconv.FEEDBACK_PROMPT_NAME: "qa"})


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_what_was_acknowledged_is_exported_before_it_ends(start, receiver, ending):
    """A vote, its change and the end right after: both carriers arrive, in order, from a service that says its name."""
    process, port = start(OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS)
    handle = handle_of(TEST_KEYS)
    assert post(port, {"handle": handle, "signal": "thumbs", "value": "up", "id": "a"}) == (202, {"id": "a"})
    assert post(port, {"handle": handle, "signal": "thumbs", "value": "down", "id": "b"}) == (202, {"id": "b"})
    process.send_signal(ending)
    log = process.stderr.read()
    assert process.wait(60) in (0, -ending)
    assert "Traceback" not in log
    assert handle not in log
    spans, services = [], set()
    for _, _, request in receiver.received:
        for group in request.resource_spans:
            services |= {a.value.string_value for a in group.resource.attributes if a.key == "service.name"}
            spans += group.scope_spans[0].spans
    states = [
        next(a.value.string_value for a in span.attributes if a.key == semconv.FEEDBACK_SENTIMENT) for span in spans
    ]
    assert states == ["positive", "negative"]
    assert services == {"otel-feedback-capture"}
    assert {link.span_id.hex() for span in spans for link in span.links} == {"00000000000000b2"}


def test_a_service_name_of_the_environment_stays(start, receiver):
    """Whichever variable gives it, the operator's name wins over ours."""
    process, port = start(OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS, OTEL_RESOURCE_ATTRIBUTES="service.name=unicorn")
    post(port, {"handle": handle_of(TEST_KEYS), "signal": "thumbs", "value": "up"})
    process.terminate()
    process.wait(60)
    (group,) = receiver.received[0][2].resource_spans
    assert {a.key: a.value.string_value for a in group.resource.attributes}["service.name"] == "unicorn"


def test_a_public_key_is_enough(start):
    """An endpoint that only verifies accepts handles of the service that signs, and no others."""
    made = run("key", "new", "--algorithm", "EdDSA")
    private, public = made.stdout.strip(), made.stderr.strip().rsplit(" ", 1)[1]
    _, port = start(OTEL_FEEDBACK_HANDLE_KEYS=public)
    assert post(port, {"handle": handle_of(private), "signal": "stars", "value": 5})[0] == 202
    assert post(port, {"handle": handle_of(TEST_KEYS), "signal": "stars", "value": 5})[0] == 401


def test_allowed_origins_are_those_of_the_options(start):
    """``--allow-origin`` may be repeated; others get no leave."""
    _, port = start(
        *("--allow-origin", "https://a.example", "--allow-origin", "https://b.example"),
        OTEL_FEEDBACK_HANDLE_KEYS=TEST_KEYS,
    )
    granted = {}
    for origin in ("https://a.example", "https://b.example", "https://c.example"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        asks = {"origin": origin, "access-control-request-method": "POST"}
        connection.request("OPTIONS", "/v1/feedback", headers=asks)
        response = connection.getresponse()
        response.read()
        granted[origin] = response.getheader("access-control-allow-origin")
        connection.close()
    assert granted == {
        "https://a.example": "https://a.example",
        "https://b.example": "https://b.example",
        "https://c.example": None,
    }


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:8485", Address("127.0.0.1", 8485)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8485", Address("::1", 8485)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65_535)),
    ],
)
def test_an_address_may_be_a_name_or_of_either_family(listen, expected):
    """Brackets hold an IPv6 address."""
    assert capture_command._address(listen) == expected


@pytest.mark.parametrize(
    "listen", ["", "8485", ":8485", "host", "host:", "host:x", "::1:80", "[::1]", "a b:1", "h:99999"]
)
def test_what_is_no_address_is_refused(listen):
    """Before anything is opened."""
    with pytest.raises(typer.BadParameter):
        capture_command._address(listen)
