"""What ``otel-feedback run`` sets for a service, what it finds missing, and that the user's own settings stay."""

import json
import os
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli_server import call, serving
from tests.unit.test_cli_addresses import server_file
from tests.unit.test_cli_http import only_with_a_token

from otel_feedback._keys import Keyring
from otel_feedback._requirement import requirement
from otel_feedback.cli import _addresses, _destination, _instrumentations, _source, run
from otel_feedback.cli._service_environment import make_environment, name_service

URL = "http://127.0.0.1:8484"
STATUS = {"content": "kept", "otlp_grpc": "127.0.0.1:4317", "otlp_http": "http://127.0.0.1:4318", "data": "/data"}


def environment(given=None, *, url=URL, status=STATUS, **more):
    """What is added to an environment."""
    return make_environment(given or {}, url=url, status=status, keys=Path("/data/handle-keys"), name="shop", **more)


def test_a_bare_environment_gets_all_it_needs():
    """The whole of it, so that nothing is added or lost unnoticed; docs/commands.md has the same."""
    assert environment() == {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": URL,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_FEEDBACK_HANDLE_KEYS_FILE": "/data/handle-keys",
        "OTEL_FEEDBACK_CAPTURE_TEXT": "true",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only",
    }


@pytest.mark.parametrize("variable", sorted(environment()))
def test_what_the_user_has_set_stays(variable):
    """Whatever it is; an empty value is none."""
    assert variable not in environment({variable: "mine"})
    assert variable in environment({variable: " "})


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_an_endpoint_of_the_user_s_is_left_with_its_protocol(variable):
    """A protocol of ours could be the wrong one for it."""
    assert not [name for name in environment({variable: "http://collector:4317"}) if "OTLP" in name]


@pytest.mark.parametrize(
    "given",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{URL}/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"},
    ],
)
def test_an_endpoint_that_is_the_server_s_own_gets_the_content(given):
    """It is what `up` prints to paste; at any other one nobody knows who reads."""
    assert "OTEL_FEEDBACK_CAPTURE_TEXT" in environment(given)
    assert "OTEL_FEEDBACK_CAPTURE_TEXT" not in environment(given | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"})


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_of_the_user_s_gets_the_endpoint_that_speaks_it(variable):
    """The one for gRPC is another port."""
    assert environment({variable: "grpc"})["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4317"
    assert environment({variable: "http/protobuf"})["OTEL_EXPORTER_OTLP_ENDPOINT"] == URL


@pytest.mark.parametrize("variable", ["OTEL_FEEDBACK_HANDLE_KEYS", "OTEL_FEEDBACK_HANDLE_KEYS_FILE"])
def test_keys_of_the_user_s_stay(variable):
    """In whichever of the two variables."""
    added = environment({variable: "mine"})
    assert "OTEL_FEEDBACK_HANDLE_KEYS_FILE" not in added


def test_a_name_among_the_resource_attributes_is_a_name():
    """OTEL_SERVICE_NAME would win over it."""
    assert "OTEL_SERVICE_NAME" not in environment({"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=mine"})
    assert "OTEL_SERVICE_NAME" in environment({"OTEL_RESOURCE_ATTRIBUTES": "a=b"})


def test_content_is_captured_only_on_this_machine_and_where_it_is_kept():
    """Not for a server elsewhere, and not for one that drops it."""
    dropped = environment(status=STATUS | {"content": "dropped"})
    elsewhere = environment(url="http://feedback.example.org:8484", status=STATUS)
    for added in (dropped, elsewhere):
        assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" not in added
        assert "OTEL_FEEDBACK_CAPTURE_TEXT" not in added
        assert added["TRACELOOP_TRACE_CONTENT"] == "false", "the other families would send it by default"
        assert added["OPENINFERENCE_HIDE_INPUTS"] == added["OPENINFERENCE_HIDE_OUTPUTS"] == "true"
    assert "OTEL_FEEDBACK_CAPTURE_TEXT" in environment(status=None)


def test_a_server_that_asks_for_its_token_gets_it():
    """One that doesn't gets none, nor does an endpoint of the user's."""
    added = environment(url="http://feedback.example.org", token="a/b c")
    assert added["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer%20a/b%20c"
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in environment()
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, token="t")


def test_a_proxy_is_passed_by():
    """None can reach this machine; what the user has excepted stays excepted."""
    assert environment({"http_proxy": "http://p"})["no_proxy"] == "127.0.0.1"
    assert environment({"HTTPS_PROXY": "http://p", "NO_PROXY": "a.example"})["NO_PROXY"] == "a.example,127.0.0.1"
    for excepted in ("*", "a, 127.0.0.1"):
        assert "no_proxy" not in environment({"ALL_PROXY": "http://p", "no_proxy": excepted})
    assert "no_proxy" not in environment({"http_proxy": "http://p"}, url="http://feedback.example.org")
    assert "no_proxy" not in environment()


NAMES = [
    ("python shop.py", "shop"),
    ("python app.py", "folder"),
    ("python3.12 -X dev -W error -u src/orders.py --port 3", "orders"),
    ("/venv/bin/python -m orders.web", "orders"),
    ("python -m app.orders", "orders"),
    ("python -m uvicorn orders:app", "orders"),
    ("python -c pass", "folder"),
    ("python -m", "folder"),
    ("python", "folder"),
    ("python -u", "folder"),
    ("uvicorn orders.api:app --host 127.0.0.1", "orders"),
    ("uvicorn app:app", "folder"),
    ("gunicorn -b 127.0.0.1:8000 -k uvicorn_worker.UvicornWorker orders:create('x')", "orders"),
    ("gunicorn -b 127.0.0.1:8000", "folder"),
    ("flask run", "folder"),
    ("", "folder"),
]


@pytest.mark.parametrize(("command", "name"), NAMES, ids=[command for command, _ in NAMES])
def test_a_service_is_called_after_what_says_most(command, name, tmp_path):
    """Its script or module; where that says nothing, its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    assert name_service(command.split(), folder) == name


# --- What is missing -----------------------------------------------------------------------------------------------

COMPLETE = {"otel-feedback": "1", "opentelemetry-distro": "1", "opentelemetry-exporter-otlp-proto-http": "1"}
MISSING = [
    ({}, []),
    ({"fastapi": "0.164.2"}, ["opentelemetry-instrumentation-fastapi"]),
    ({"fastapi": "0.165.0", "starlette": "1.0"}, []),
    ({"fastapi": "odd", "starlette": "1.0"}, ["opentelemetry-instrumentation-fastapi"]),
    ({"starlette": "1.0"}, ["opentelemetry-instrumentation-starlette"]),
    ({"flask": "3.1", "starlette": "1.0"}, ["opentelemetry-instrumentation-flask"]),
    ({"django": "5.2", "opentelemetry-instrumentation-django": "1"}, []),
    ({"openai": "3.0"}, ["opentelemetry-instrumentation-genai-openai==1.3b0"]),
    ({"openai": "3.0", "openinference-instrumentation-openai": "1"}, []),
    ({"openai": "3.0", "opentelemetry-instrumentation-openai": "1"}, []),
    ({"anthropic": "1"}, ["opentelemetry-instrumentation-genai-anthropic"]),
    ({"langchain-core": "1"}, ["opentelemetry-instrumentation-genai-langchain"]),
    ({"mistralai": "1"}, ["opentelemetry-instrumentation-mistralai"]),
]


@pytest.mark.parametrize(("installed", "missing"), MISSING, ids=[", ".join(one) or "nothing" for one, _ in MISSING])
def test_what_is_missing_is_what_the_environment_has_libraries_for(installed, missing):
    """One instrumentation a library is enough, of whatever family."""
    assert _instrumentations.find_missing(COMPLETE | installed) == missing


@pytest.mark.parametrize("without", COMPLETE)
def test_our_own_part_comes_first(without):
    """Without it there is no handle, and without an exporter nothing arrives."""
    installed = {name: version for name, version in COMPLETE.items() if name != without} | {"openai": "3.0"}
    assert _instrumentations.find_missing(installed)[0] == requirement("otlp,capture")


def test_this_environment_is_found_complete():
    """Asked in this process and in another one, it has the same."""
    here = _instrumentations.find_installed(None)
    assert here == _instrumentations.find_installed(Path(sys.executable))
    assert COMPLETE.keys() <= here.keys()
    assert "opentelemetry-instrumentation-genai-openai" in here


def test_another_environment_is_asked(tmp_path):
    """A name of another spelling is the same one; an interpreter that fails has nothing."""
    python = program(tmp_path / "python3", '#!/bin/sh\necho \'{"Otel_Feedback": "9"}\'\n')
    assert _instrumentations.find_installed(python) == {"otel-feedback": "9"}
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no\n"):
        assert _instrumentations.find_installed(program(python, text)) == {}
    assert _instrumentations.find_installed(tmp_path / "none") == {}


def program(path, text="#!/bin/sh\n"):
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """An environment with an interpreter, the instrumenting command and a folder on the PATH beside it."""
    program(tmp_path / "venv" / "bin" / "python")
    program(tmp_path / "venv" / "bin" / "opentelemetry-instrument")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin")
    return tmp_path / "venv" / "bin"


def test_the_interpreter_itself_says_which_environment_it_is(venv):
    """Its own ``opentelemetry-instrument`` lies beside it."""
    target = _instrumentations.find_target(str(venv / "python"))
    assert target == _instrumentations.Target(venv / "python", venv / "opentelemetry-instrument")


@pytest.mark.parametrize(
    "text",
    [
        "#!{}\nimport x\n",
        "#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' {} \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_a_script_says_it_in_its_first_line(venv, tmp_path, text):
    """Wherever it lies: pipx links it elsewhere, and pip writes a long path in another way."""
    script = program(tmp_path / "path" / "uvicorn", text.format(venv / "python"))
    target = _instrumentations.find_target("uvicorn")
    assert target == _instrumentations.Target(venv / "python", venv / "opentelemetry-instrument")
    assert script.exists()


def test_a_program_that_is_no_python_gets_ours(venv, tmp_path):
    """What it starts may be; ``opentelemetry-instrument`` hands itself on by the environment."""
    program(tmp_path / "path" / "start.sh")
    ours = Path(sys.executable).parent / "opentelemetry-instrument"
    assert _instrumentations.find_target("start.sh") == _instrumentations.Target(None, ours)


def test_an_environment_without_the_command_has_none(tmp_path, monkeypatch):
    """One of another interpreter on the PATH isn't taken for its own; one of the same interpreter is."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin")
    python = program(tmp_path / "system" / "python3")
    assert _instrumentations.find_target(str(python)) == _instrumentations.Target(python, None)
    other = program(tmp_path / "path" / "opentelemetry-instrument", f"#!{tmp_path / 'other' / 'python3'}\n")
    program(tmp_path / "other" / "python3")
    assert _instrumentations.find_target(str(python)).instrument is None
    program(other, f"#!{python}\n")
    assert _instrumentations.find_target(str(python)).instrument == other


def test_a_program_that_cannot_be_read_says_nothing(tmp_path):
    """It is run all the same."""
    assert _instrumentations._shebang(tmp_path) is None
    assert _instrumentations._shebang(program(tmp_path / "a", "#!\n")) is None
    assert _instrumentations._shebang(program(tmp_path / "a", "#!python\n")) is None


# --- The command ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    """Servers that aren't there don't come, and nobody has the usual address."""
    monkeypatch.setattr(_destination, "WAIT_SECONDS", 0.0)
    for module in (_addresses, _destination, _source):
        monkeypatch.setattr(module, "DEFAULT_URL", "http://127.0.0.1:9")


def variables(*words, **given):
    """What ``run --print-env --json`` prints, and what it says beside."""
    code, out, err = call("run", *words, "--print-env", "--json", **given)
    assert code == 0, err
    return json.loads(out), err


def test_the_key_is_the_one_in_the_server_s_folder(tmp_path):
    """Made where it isn't there yet, for the owner alone; the server finds it at its start."""
    added, err = variables("--data", tmp_path / "data")
    file = tmp_path / "data" / "handle-keys"
    assert added["OTEL_FEEDBACK_HANDLE_KEYS_FILE"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Keyring.from_state_dir(tmp_path / "data") == Keyring.from_file(file)
    assert f"otel-feedback up --data {tmp_path / 'data'}\n" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
    _, err = variables("--url", f"http://{at}", XDG_DATA_HOME=str(tmp_path))
    assert f"otel-feedback up --listen {at}\n" in err


def test_a_running_server_says_where_its_folder_is(tmp_path):
    """Then nothing is said about starting one."""
    with serving({"/api/status": STATUS | {"data": str(tmp_path)}}) as api:
        added, err = variables("--url", api.url)
    assert added["OTEL_FEEDBACK_HANDLE_KEYS_FILE"] == str(tmp_path / "handle-keys")
    assert added["OTEL_EXPORTER_OTLP_ENDPOINT"] == api.url
    assert err == f"otel-feedback: Spans, questions and answers go to {api.url} (data {tmp_path}).\n"


def test_a_token_of_the_environment_goes_in():
    """It is the server's own word that it asks for one."""
    with serving({"/api/status": (200, only_with_a_token)}) as api:
        added, _ = variables("--url", api.url, OTEL_FEEDBACK_HANDLE_KEYS="k", OTEL_FEEDBACK_TOKEN="secret")
        assert added["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer%20secret"


def test_this_machine_s_own_name_is_this_machine(tmp_path):
    """A server for other machines too is named by it; its folder is here all the same."""
    server_file(tmp_path, "http://127.0.0.1:1", os.getpid())
    added, err = variables("--url", "http://feedback.invalid:1", "--data", tmp_path)
    assert added["OTEL_FEEDBACK_HANDLE_KEYS_FILE"] == str(tmp_path / "handle-keys")
    assert "OTEL_FEEDBACK_HANDLE_KEYS" not in err


def test_keys_of_a_server_elsewhere_cannot_be_known():
    """It says which variable they go into; the user's own are enough."""
    _, err = variables("--url", "http://feedback.invalid:1")
    assert "OTEL_FEEDBACK_HANDLE_KEYS" in err
    _, err = variables("--url", "http://feedback.invalid:1", OTEL_FEEDBACK_HANDLE_KEYS_FILE="/keys")
    assert "OTEL_FEEDBACK_HANDLE_KEYS" not in err


def test_a_folder_of_somebody_else_ends_it(tmp_path):
    """Votes would be refused later, where nobody sees it."""
    (tmp_path / "data").write_text("a file, and no folder")
    code, _, err = call("run", "--data", tmp_path / "data", "--print-env")
    assert code == 2
    assert "server's data folder" in err


def test_variables_are_printed_for_a_shell(tmp_path):
    """``eval`` reads them back, blanks and quotes included."""
    folder = tmp_path / "it's here"
    code, out, _ = call("run", "--data", folder, "--print-env", "--name", "my shop")
    assert code == 0
    shown = subprocess.run(
        ["/bin/sh", "-c", f'{out}\nprintf %s "$OTEL_SERVICE_NAME:$OTEL_FEEDBACK_HANDLE_KEYS_FILE"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == f"my shop:{folder / 'handle-keys'}"


def test_an_endpoint_of_the_user_s_needs_no_server_of_ours(tmp_path):
    """Spans go where it says, and nothing is said about starting another."""
    added, err = variables("--data", tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317")
    assert err == (
        "otel-feedback: Spans go to http://collector:4317, as OTEL_EXPORTER_OTLP_ENDPOINT says; "
        "of questions and answers the service's own settings say.\n"
    )
    assert "OTEL_FEEDBACK_HANDLE_KEYS_FILE" in added
    assert not {"OTEL_FEEDBACK_CAPTURE_TEXT", "OPENINFERENCE_HIDE_INPUTS"} & added.keys()


def test_a_name_that_is_given_wins():
    """Over the environment's too: it was said last."""
    added, _ = variables("--name", "shop", OTEL_SERVICE_NAME="other", OTEL_FEEDBACK_HANDLE_KEYS="k")
    assert added["OTEL_SERVICE_NAME"] == "shop"


def test_without_a_command_there_is_nothing_to_start(tmp_path):
    """A wrong call, with an example."""
    code, _, err = call("run", "--data", tmp_path)
    assert code == 2
    assert "otel-feedback run -- uvicorn app:app (or: -- python app.py)" in " ".join(err.replace("│", " ").split())


def test_a_command_that_does_not_exist_is_named(tmp_path):
    """``opentelemetry-instrument`` itself would end with a traceback."""
    code, _, err = call("run", "--data", tmp_path, "--", "no-such-command")
    assert code == 1
    assert "no-such-command" in err


def test_an_environment_without_instrumentation_is_told_what_to_install(tmp_path):
    """For its own interpreter; nothing is started."""
    python = program(tmp_path / "venv" / "python3", '#!/bin/sh\necho \'{"flask": "3.1"}\'\n')
    code, _, err = call("run", "--data", tmp_path, "--", python, "app.py")
    assert code == 1
    own = shlex.quote(requirement("otlp,capture"))
    assert f"{python} -m pip install {own} opentelemetry-instrumentation-flask" in err


def test_a_complete_environment_that_lost_the_command_is_told_so(tmp_path):
    """Everything is installed by its name, and the command isn't there."""
    python = program(tmp_path / "venv" / "python3", f"#!/bin/sh\necho '{json.dumps(COMPLETE)}'\n")
    code, _, err = call("run", "--data", tmp_path, "--", python, "app.py")
    assert code == 1
    assert f"install {shlex.quote(requirement('otlp,capture'))}\n" in err


def test_the_service_takes_this_process_s_place(tmp_path, monkeypatch):
    """By exec, with what was typed and the variables; options after the command are the command's."""
    started = []

    def execute(file, words, environ):
        started.append((file, words, environ))
        raise SystemExit(7)

    monkeypatch.setattr(os, "execvpe", execute)
    code, _, _ = call("run", "--data", tmp_path, sys.executable, "app.py", "--name", "x", MINE="1")
    assert code == 7
    [(file, words, environ)] = started
    assert file == str(Path(sys.executable).parent / "opentelemetry-instrument")
    assert words == [file, sys.executable, "app.py", "--name", "x"]
    assert environ["MINE"] == "1"
    assert environ["OTEL_SERVICE_NAME"] == Path.cwd().name


def test_where_no_exec_waits_its_exit_code_is_handed_on(monkeypatch):
    """Windows: the service is a child."""
    monkeypatch.setattr(run, "TAKES_ITS_PLACE", False)
    with pytest.raises(SystemExit) as ended:
        run._execute(Path("/bin/sh"), ["-c", 'exit "$CODE"'], {"CODE": "9"})
    assert ended.value.code == 9
