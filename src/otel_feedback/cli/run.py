"""``otel-feedback run``: start an existing service so that its first vote needs no other configuration."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from otel_feedback._files import TOKEN_FILE
from otel_feedback._keys import KEY_FILE, Keyring
from otel_feedback._requirement import requirement
from otel_feedback.cli import _options, _show
from otel_feedback.cli._addresses import is_loopback_url, is_server_of
from otel_feedback.cli._destination import Destination, find_destination
from otel_feedback.cli._instrumentations import EXTRAS, INSTRUMENT, Target, find_installed, find_missing, find_target
from otel_feedback.cli._service_environment import CONTENT, ENDPOINTS, HEADERS, make_environment, name_service
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
    if as_json and not print_env:
        raise typer.BadParameter("It is for --print-env; a service's output is its own.", param_hint="--json")
    place = _options.place(url, data)
    target = _find(command[0]) if command else None
    destination = find_destination(place)
    if destination.refusal is not None:
        _refuse(destination.refusal, print_env=print_env)
    added = _environment(destination, place, command or [], name)
    _show.note(f"otel-feedback: {_where(destination, added)}")
    if print_env:
        _print(added, destination, as_json=as_json)
        return
    if not command or target is None or target.instrument is None:
        raise typer.BadParameter(
            "Say what starts the service, as in: otel-feedback run -- uvicorn app:app (or: -- python app.py)"
        )
    _execute(target.instrument, command, added)


def _refuse(refusal: str, *, print_env: bool) -> None:
    """Say that spans and votes won't be taken; variables that can't work aren't printed."""
    _show.note(f"otel-feedback: {refusal}")
    if print_env:
        raise typer.Exit(1)
    _show.note("otel-feedback: until then it refuses spans, and neither its key nor questions and answers are set.")


def _find(program: str) -> Target:
    """Find the environment of a command, and tell what is missing in it."""
    target = find_target(program)
    if target is None:
        _show.note(f"otel-feedback: there is no command {program!r}.")
        raise typer.Exit(1)
    missing = find_missing(find_installed(target.python)) if target.python else []
    own = requirement(EXTRAS)
    if target.instrument is None and own not in missing:
        missing.insert(0, own)
    if missing:
        pip = shlex.join([str(target.python or "python"), "-m", "pip", "install", *missing])
        _show.note(f"otel-feedback: the environment of {program} lacks parts. Run:\n  {pip}")
    if target.instrument is None:
        _show.note(f"otel-feedback: {INSTRUMENT} is one of them, so nothing was started.")
        raise typer.Exit(1)
    return target


def _environment(destination: Destination, place: Place, command: Sequence[str], name: str | None) -> dict[str, str]:
    added = make_environment(
        os.environ,
        url=destination.url,
        status=destination.status,
        keys=_keys(destination, place),
        name=name or name_service(command, Path.cwd()),
        token=destination.token,
        may_have_content=destination.is_known and destination.refusal is None,
    )
    if name is not None:
        added["OTEL_SERVICE_NAME"] = name
    return added


def _keys(destination: Destination, place: Place) -> Path | None:
    """Return the file of the key that the server on this machine accepts; made if it isn't there yet."""
    given = any(os.environ.get(f"OTEL_FEEDBACK_HANDLE_KEYS{end}", "").strip() for end in ("", "_FILE"))
    if given or destination.refusal is not None:  # of a server that doesn't let us in no folder is known
        return None
    folder = Path(str((destination.status or {}).get("data") or place.folder))
    said_together = place.url is not None and place.data is not None
    if not (is_loopback_url(destination.url) or said_together or is_server_of(folder, destination.url)):
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


def _where(destination: Destination, added: Mapping[str, str]) -> str:
    """Return the sentence on what goes where, which is always said."""
    environ = {**os.environ, **added}
    endpoint = next((one for one in ENDPOINTS if one not in added and environ.get(one, "").strip()), None)
    if endpoint is not None:
        own = (
            "questions and answers too"
            if CONTENT in added
            else "of questions and answers the service's own settings say"
        )
        return f"Spans go to {environ[endpoint].strip()}, as {endpoint} says; {own}."
    data = (destination.status or {}).get("data")
    where = f"{destination.url} (data {data})" if data else destination.url
    if CONTENT in added:
        return f"Spans, questions and answers go to {where}."
    if environ.get(CONTENT, "").strip():
        return f"Spans go to {where}; questions and answers as {CONTENT}={environ[CONTENT].strip()} says."
    return f"Spans go to {where}, without questions and answers."


def _print(added: Mapping[str, str], destination: Destination, *, as_json: bool) -> None:
    if as_json:
        _show.print_json(dict(added))
        return
    for variable, value in sorted(added.items()):
        shown = shlex.quote(value)
        if variable == HEADERS and destination.token_from is not None:
            # What is printed here may end in a log: the shell reads the token itself.
            shown = f'"authorization=Bearer%20$(cat {shlex.quote(str(destination.token_from / TOKEN_FILE))})"'
        print(f"export {variable}={shown}")


def _execute(instrument: Path, command: Sequence[str], added: Mapping[str, str]) -> NoReturn:
    """Become the service, so that its signals and its exit code are its own."""
    environ = {**os.environ, **added}
    words = [str(instrument), *command]
    sys.stdout.flush()
    sys.stderr.flush()
    if TAKES_ITS_PLACE:
        os.execvpe(words[0], words, environ)  # noqa: S606 - the command that the user typed
    raise SystemExit(subprocess.call(words, env=environ))  # noqa: S603 - the same
