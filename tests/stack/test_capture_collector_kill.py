"""Capture and the real Collector killed under load: the store has what was acknowledged, once, and its last state."""

from pathlib import Path

from soak.kill import Run, kill
from stack.parts import Parts


def test_nothing_acknowledged_is_lost_when_capture_and_the_collector_are_killed(tmp_path: Path, parts: Parts) -> None:
    """Two endpoints on one outbox, killed with and without the Collector; before that Prometheus agrees exactly."""
    run = Run("short", captures=2, kills_capture=2, kills_collector=4, seed=7)
    result = kill(run, tmp_path, parts=parts, senders=4)
    assert result.compared.held, "\n".join(result.lines())
    assert result.compared.acknowledged > 120
    assert result.broken > 0
    assert result.quiet == 0
    assert result.counted > 0
