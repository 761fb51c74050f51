"""``otel-feedback run``: start an existing service so that its first vote needs no other configuration."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from otel_feedback._keys import KEY_FILE, Keyring
from otel_feedback.cli import _options, _show
from otel_feedback.cli._addresses import DEFAULT_URL, is_loopback_url, is_server_of, running_url, start_command
from otel_feedback.cli._http import RefusedError, UnreachableError
from otel_feedback.cli._instrumentations import INSTRUMENT, Target, find_installed, find_missing, find_target
from otel_feedback.cli._service_environment import ENDPOINTS, make_environment, name_service
from otel_feedback.cli._source import Place
from otel_feedback.exceptions import ConfigurationError

TAKES_ITS_PLACE: Final = os.name == "posix"
"""Whether a process can become another program; on Windows the service is a child."""


def run(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What starts the service.", show_default=False)
    ] = None,
    *,
    url: _options.Url = None,
    data: _options.Data = None,
    name: Annotated[
        str | None, typer.Option(help="The service's name. [default: from its script, module or folder]")
    ] = None,
    print_env: Annotated[
        bool, typer.Option("--print-env", help="Print the variables for a shell, and start nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --print-env: print them as JSON.")] = False,
) -> None:
    """Start a service with everything set for its first vote.

    That is its instrumentation, where its spans go, and the key of the handles; docs/commands.md has all of it.
    Nothing in the service is changed, and no variable that you have set. Signals and exit code are the service's own.
    Instrumentations that are missing are named with the pip command.

    \b
    Examples:
      otel-feedback run -- uvicorn app:app
      otel-feedback run -- python app.py
      otel-feedback run --name shop -- gunicorn -k uvicorn_worker.UvicornWorker app:app
      eval "$(otel-feedback run --print-env)"
    """  # noqa: D301 - \b keeps the lines below it as they are
    place = _options.place(url, data)
    target = _find(command[0]) if command else None
    added = _environment(place, command or [], name)
    if print_env:
        _print(added, as_json=as_json)
        return
    if not command or target is None or target.instrument is None:
        raise typer.BadParameter(
            "Say what starts the service, as in: otel-feedback run -- uvicorn app:app (or: -- python app.py)"
        )
    _execute(target.instrument, command, added)


def _find(program: str) -> Target:
    """Find the environment of a command, and tell what is missing in it."""
    target = find_target(program)
    if target is None:
        _show.note(f"otel-feedback: there is no command {program!r}.")
        raise typer.Exit(1)
    missing = find_missing(find_installed(target.python)) if target.python else []
    if target.instrument is None and "otel-feedback[otlp]" not in missing:
        missing.insert(0, "otel-feedback[otlp]")
    if missing:
        pip = shlex.join([str(target.python or "python"), "-m", "pip", "install", *missing])
        _show.note(f"otel-feedback: the environment of {program} lacks parts. Run:\n  {pip}")
    if target.instrument is None:
        _show.note(f"otel-feedback: {INSTRUMENT} is one of them, so nothing was started.")
        raise typer.Exit(1)
    return target


def _environment(place: Place, command: Sequence[str], name: str | None) -> dict[str, str]:
    url, status, token = _look(place)
    keys = _keys(place, url, status)
    service = name or name_service(command, Path.cwd())
    added = make_environment(os.environ, url=url, status=status, keys=keys, name=service, token=token)
    if name is not None:
        added["OTEL_SERVICE_NAME"] = name
    return added


def _look(place: Place) -> tuple[str, Mapping[str, Any] | None, str | None]:
    """Return the server's address, what it says and the token that it asks for; a service starts without it too."""
    server = place.server()
    url = server.url if server else running_url(place.folder) or DEFAULT_URL
    if server is not None:
        try:
            return url, server.status(), server.token
        except RefusedError as error:  # it is there, and will refuse spans too
            _show.note(f"otel-feedback: {error}")
            return url, {}, None
        except UnreachableError:
            pass
    if any(os.environ.get(variable, "").strip() for variable in ENDPOINTS):
        return url, None, None  # spans go where the user says, which need not be a server of ours
    _show.note(
        f"otel-feedback: no server answers at {url} yet, so spans will be lost until one does. Start it in another "
        f"terminal: {start_command(url, place.data)}"
    )
    return url, None, os.environ.get("OTEL_FEEDBACK_TOKEN", "").strip() or None


def _keys(place: Place, url: str, status: Mapping[str, Any] | None) -> Path | None:
    """Return the file of the key that the server on this machine accepts; made if it isn't there yet."""
    if any(os.environ.get(f"OTEL_FEEDBACK_HANDLE_KEYS{end}", "").strip() for end in ("", "_FILE")):
        return None
    folder = Path(str((status or {}).get("data") or place.folder))
    if not is_loopback_url(url) and not is_server_of(folder, url):
        _show.note(
            "otel-feedback: the server is on another machine. Set OTEL_FEEDBACK_HANDLE_KEYS to the keys in the file "
            f"{KEY_FILE} of its data folder, or votes on this service's answers are refused."
        )
        return None
    try:
        Keyring.from_state_dir(folder)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} This is the server's data folder: run this as the server's user.") from None
    return folder / KEY_FILE


def _print(added: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        _show.print_json(dict(added))
        return
    for variable, value in sorted(added.items()):
        print(f"export {variable}={shlex.quote(value)}")


def _execute(instrument: Path, command: Sequence[str], added: Mapping[str, str]) -> NoReturn:
    """Become the service, so that its signals and its exit code are its own."""
    environ = {**os.environ, **added}
    words = [str(instrument), *command]
    sys.stdout.flush()
    sys.stderr.flush()
    if TAKES_ITS_PLACE:
        os.execvpe(words[0], words, environ)  # noqa: S606 - the command that the user typed
    raise SystemExit(subprocess.call(words, env=environ))  # noqa: S603 - the same
