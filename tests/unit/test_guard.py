"""What goes wrong in here stays in here, is told once, and never repeats what a user wrote."""

import logging
import threading

import pytest

from otel_feedback import _guard

SECRET = "what a user wrote"


@pytest.fixture(autouse=True)
def told(caplog):
    """Each test starts with every warning ungiven, and reads what is logged."""
    _guard.forget_warnings()
    caplog.set_level(logging.DEBUG, logger="otel_feedback")
    yield caplog
    _guard.forget_warnings()


@_guard.guarded(default="default")
def fails(error=ValueError):
    """Fail as asked."""
    raise error(SECRET)


def test_a_guarded_function_returns_its_default():
    """On an error of ours the host gets the default, else what the function returns."""
    assert fails() == "default"
    assert _guard.guarded(default=1)(lambda: 2)() == 2


def test_a_guarded_block_goes_on_behind_it():
    """The block ends at the error, and the host goes on."""
    reached = []
    with _guard.guard("here"):
        reached.append("before")
        raise ValueError(SECRET)
    assert reached == ["before"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_passes(error):
    """An interrupt is the host's, never swallowed."""
    with pytest.raises(error):
        fails(error)
    with pytest.raises(error), _guard.guard("here"):
        raise error


def test_a_failure_is_told_once_for_each_place_and_type(told):
    """A failure at every request doesn't fill the log."""
    for _ in range(3):
        fails()
        with _guard.guard("here"):
            raise ValueError(SECRET)
    fails(KeyError)
    warnings = [record.message for record in told.records if record.levelno == logging.WARNING]
    assert [text.partition(";")[0] for text in warnings] == [
        "otel-feedback: fails failed with ValueError",
        "otel-feedback: here failed with ValueError",
        "otel-feedback: fails failed with KeyError",
    ]


def test_the_log_says_where_and_never_what(told):
    """At DEBUG the log has the lines of code that led to a failure, but not the exception's words."""
    error = ValueError(SECRET)
    error.__cause__ = KeyError(SECRET)
    with _guard.guard("here"):
        raise error
    logged = "\n".join(told.handler.format(record) for record in told.records)
    assert "test_guard.py" in logged
    assert "raise error" in logged
    assert SECRET not in logged


def test_strict_raises_what_would_be_swallowed():
    """Under test nothing of ours fails unseen, and afterwards the host is safe again."""
    with _guard.strict():
        assert _guard.is_strict()
        with pytest.raises(ValueError, match=SECRET):
            fails()
        with pytest.raises(ValueError, match=SECRET), _guard.guard("here"):
            raise ValueError(SECRET)
    assert not _guard.is_strict()
    assert fails() == "default"


def test_strict_forgets_warnings_at_both_ends(told):
    """A test sees each warning as if it were the first, and leaves none behind as given."""
    _guard.warn_once("code", "said %s", "before")
    with _guard.strict():
        _guard.warn_once("code", "said %s", "inside")
    _guard.warn_once("code", "said %s", "after")
    assert [record.message for record in told.records] == ["said before", "said inside", "said after"]


def test_threads_that_warn_at_once_warn_once(told):
    """Of many threads that find the same trouble, one tells it."""
    start = threading.Barrier(8)

    def warn() -> None:
        start.wait()
        for code in range(50):
            _guard.warn_once(str(code), "trouble %d", code)

    threads = [threading.Thread(target=warn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.args[0] for record in told.records) == list(range(50))


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
def test_a_host_whose_logging_raises_is_not_broken_by_our_warnings(level):
    """A filter that raises would reach the host through whichever span or feedback we warn about."""

    def broken(record):
        raise RuntimeError(record)

    @_guard.guarded(default="went on")
    def fail():
        raise ValueError

    _guard.logger.addFilter(broken)
    before = _guard.logger.level
    _guard.logger.setLevel(level)
    try:
        assert fail() == "went on"
    finally:
        _guard.logger.setLevel(before)
        _guard.logger.removeFilter(broken)
        _guard.forget_warnings()
