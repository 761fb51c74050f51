"""The alert rules, by Prometheus' own tool and in the real Prometheus."""

import subprocess
from pathlib import Path

import pytest
from stack.client import get_json
from stack.parts import Parts
from stack.processes import Stack

RULES = Path(__file__).resolve().parents[2] / "dashboards/rules"


@pytest.mark.parametrize("file", sorted(RULES.glob("tests/*.yaml")), ids=lambda file: file.stem)
def test_alerts_fire_and_do_not_fire_where_they_should(parts: Parts, file: Path) -> None:
    """`promtool test rules` runs made-up series through each alert: what it must say, and where it must be quiet."""
    ran = subprocess.run([parts.promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_finds_nothing_to_complain_of(parts: Parts) -> None:
    """The rule file is valid without any feature flag, its duplicates and templates checked."""
    command = [parts.promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES / "feedback.yaml"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_has_loaded_every_alert(stack: Stack) -> None:
    """The running Prometheus has the rules of the file, with none of them in error."""
    groups = get_json(f"{stack.prometheus}/api/v1/rules", {"type": "alert"})["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == (RULES / "feedback.yaml").read_text().count("- alert: ")
    assert not [rule["name"] for rule in rules if rule.get("lastError")]
