"""``docs/commands.md`` is held against the commands themselves: each one, each option, each example."""

import re
from pathlib import Path

import pytest
from tests.unit.cli_server import call
from typer.main import get_command

from otel_feedback.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


def commands(command, *path):
    """Every command that does something, by the words that name it."""
    inside = getattr(command, "commands", None)
    if inside is None:
        return {" ".join(path): command}
    found = {" ".join(path): command} if path and command.invoke_without_command else {}
    for name, one in inside.items():
        found |= commands(one, *path, name)
    return found


COMMANDS = commands(get_command(app))


def sections():
    """The page's part on each command, by the command's words."""
    parts = re.split(r"^#{2,3} `otel-feedback ([a-z -]+?)(?: [A-Z\[-][^`]*)?`$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(command):
    """The table of a command's arguments and options, as the page has it."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield f"`{parameter.metavar}`", "", parameter.help
        elif parameter.name != "help":
            help_text = re.sub(r" \[env: (\w+)\]", r" Environment: `\1`.", parameter.help)
            help_text, _, default = help_text.partition(" [default: ")
            yield (
                f"`{'`, `'.join([*parameter.opts, *parameter.secondary_opts])}`",
                default.rstrip("]") or shown(parameter.default),
                help_text,
            )


def shown(default):
    """A default as the page has it."""
    if default in (None, False):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def test_every_command_has_its_part():
    """And there is none that isn't."""
    assert sorted(sections()) == sorted([*COMMANDS, "db"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name):
    """In the command's own order and words."""
    (rest,) = re.findall(r"\| option \| default \| meaning \|\n\|.*\n((?:\|.*\n)*)", sections()[name])
    table = re.findall(r"^\| (`.*?) \| (.*?) ?\| (.*) \|$", rest, re.MULTILINE)
    assert table == list(rows(COMMANDS[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_of_the_help_is_on_the_page(name):
    """So that neither has one that the other lacks."""
    examples = COMMANDS[name].help.partition("Examples:\n")[2].splitlines()
    documented = re.findall(r"^    (.*(?:otel-feedback|jq) ?.*)$", sections()[name], re.MULTILINE)
    assert documented == [line.strip() for line in examples if line.strip()]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_on_lines_of_their_own(name):
    """Each at most as wide as a terminal of 80 columns, so that it can be copied whole."""
    code, out, _ = call(*name.split(), "--help")
    assert code == 0
    examples = COMMANDS[name].help.partition("Examples:\n")[2].splitlines()
    assert examples
    for line in filter(None, examples):
        assert line.strip() in [one.strip() for one in out.splitlines()]


def test_a_list_of_commands_tells_each_whole():
    """The first line of a command's help fits beside its name."""
    for group in ((), ("db",)):
        _, out, _ = call(*group, "--help")
        listed = out.partition("Commands:")[2]
        assert listed
        assert "..." not in listed
