"""Capture and the real Collector killed under load: the store has what was acknowledged, once, and its last state."""

from pathlib import Path

from soak.kill import Run, kill
from stack.parts import Parts


def test_nothing_acknowledged_is_lost_when_capture_and_the_collector_are_killed(tmp_path: Path, parts: Parts) -> None:
    """Two endpoints on one outbox, each of them and the Collector killed by turns and at once."""
    run = Run("short", captures=2, kills_capture=3, kills_collector=6, seed=7)
    result = kill(run, tmp_path, parts=parts, senders=4)
    assert result.compared.held, "\n".join(result.lines())
    assert result.compared.acknowledged > 120
    assert result.broken > 0
    # What was counted within the Collector's last second, once for each kill, or twice, is all that may differ.
    assert result.counted > 0


def test_prometheus_counts_what_was_delivered_once_exactly(tmp_path: Path, parts: Parts) -> None:
    """Where nobody is killed, its sum is the store's number of feedbacks."""
    result = kill(Run("quiet"), tmp_path, parts=parts, senders=4)
    assert result.compared.held, "\n".join(result.lines())
    assert result.broken == 0
    assert result.counted == result.compared.stored == result.compared.acknowledged
