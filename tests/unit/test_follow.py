"""Signals that a service finds by itself: from the question to the carrier, and what it costs nobody."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.unit.follow_parts import HOW, HOW_ELSE, OTHER, answer, derived, in_openinference, target
from tests.unit.spans_of_a_host import Host, lenient

from otel_feedback import _follow, _runtime, interaction, record, replace_signals, semconv
from otel_feedback._follow import Follower
from otel_feedback._record import recorder_in_use
from otel_feedback._recorder import Recorder
from otel_feedback._settings import Settings
from otel_feedback.exceptions import DeliveryError
from otel_feedback.signals import DEFAULT_SIGNALS, Signal
from otel_feedback.testing import telemetry


@pytest.fixture
def seen():
    with telemetry() as seen:
        yield seen


def test_a_question_asked_again_is_feedback_on_the_answer_before(seen):
    """The same text is ``regenerate``, a like one ``rephrase``, another one nothing; each on the right answer."""
    first, second, third = (answer(seen, text) for text in (HOW, f"  {HOW.upper()} ", HOW_ELSE))
    answer(seen, OTHER)
    (regenerate, rephrase) = derived(seen)
    assert regenerate == (target(seen, first), "regenerate", "regenerated", DEFAULT_SIGNALS["regenerate"].confidence)
    assert rephrase[:3] == (target(seen, second), "rephrase", "asked again")
    assert 0 <= rephrase[3] <= 1
    assert third is not None


def test_what_is_found_is_a_carrier_like_others_and_no_persons_word(seen):
    """Kind implicit, said by code, source derived; it is never the first opinion and changes no explicit vote."""
    first = answer(seen, HOW)
    answer(seen, HOW)
    _follow.settle(5)
    record(first, "thumbs", "up")
    carriers = [span["attributes"] for span in seen.spans() if semconv.FEEDBACK_SIGNAL in span["attributes"]]
    found, vote = carriers
    assert found[semconv.FEEDBACK_KIND] == "implicit"
    assert found[semconv.ANNOTATION_ANNOTATOR_KIND] == "CODE"
    assert found[semconv.FEEDBACK_FIRST] is False
    assert found[semconv.FEEDBACK_MODEL] == "m-1"
    assert found[semconv.GEN_AI_CONVERSATION_ID] == "c-1"
    assert (vote[semconv.FEEDBACK_FIRST], vote[semconv.FEEDBACK_PREVIOUS_SENTIMENT]) == (True, "unset")


def test_a_signal_that_the_page_sent_is_not_recorded_again(seen):
    """One feedback of one signal on one answer."""
    first = answer(seen, HOW)
    record(first, "regenerate", True)
    answer(seen, HOW)
    assert derived(seen) == []


def test_two_people_in_one_conversation_do_not_repeat_each_other():
    """Where it is known who asks, only one's own question counts."""
    with telemetry(pseudonym_keys="u1:" + "A" * 43) as seen:
        first = answer(seen, HOW, user="ann")
        answer(seen, HOW, user="bob")
        answer(seen, HOW, user="ann")
        assert [found[0] for found in derived(seen)] == [target(seen, first)]


def test_threads_and_tasks_keep_conversations_apart(seen):
    """Many at once, interleaved: each second answer repeats the first one of its own conversation."""

    def talk(number):
        first = answer(seen, f"{HOW} {number}", f"thread-{number}")
        answer(seen, f"{HOW} {number}", f"thread-{number}")
        return first

    async def chat(number):
        with interaction(
            "a", conversation_id=f"task-{number}", input=f"{OTHER} {number}", tracer_provider=seen.provider
        ) as first:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        answer(seen, f"{OTHER} {number}", f"task-{number}")
        return first.handle

    async def chats():
        return await asyncio.gather(*(chat(number) for number in range(20)))

    with ThreadPoolExecutor(4) as pool:
        handles = list(pool.map(talk, range(20)))
    handles += asyncio.run(chats())
    assert sorted(found[:2] for found in derived(seen)) == sorted((target(seen, h), "regenerate") for h in handles)


def test_an_answer_that_failed_or_was_never_seen_is_not_judged(seen):
    """A question that is repeated after an error, or while the first still runs, says nothing of an answer."""
    with pytest.raises(ValueError, match="host"):
        broken(seen)
    with interaction("answer", conversation_id="c-1", input=HOW, tracer_provider=seen.provider):
        answer(seen, HOW)
    assert derived(seen) == []


def broken(seen):
    with interaction("answer", conversation_id="c-1", input=HOW, tracer_provider=seen.provider):
        raise ValueError("the host's own")


def test_two_answers_of_one_request_are_not_compared(seen):
    """Side by side, for the user to choose from."""
    host = Host(seen)
    for _ in range(2):
        with host.request():
            firsts = [answer(seen, HOW) for _ in range(2)]
    assert len(derived(seen)) == 1
    assert target(seen, firsts[1]) not in {found[0] for found in derived(seen)}


def test_an_answer_that_was_sampled_out_is_judged_too():
    """The carrier says so."""
    with telemetry(sampler=ALWAYS_OFF) as seen:
        answer(seen, HOW)
        answer(seen, HOW)
        (carrier,) = seen.spans()
        assert carrier["attributes"][semconv.FEEDBACK_TARGET_SAMPLED] is False


def test_no_question_is_kept(seen):
    """Neither on the sheet nor in the tables, and none leaves where content is off."""
    answer(seen, HOW)
    host = Host(seen)
    with host.request() as server:
        host.end_chat(host.start_chat(), **in_openinference(HOW))
        sheet = _follow._ledger.current_sheet()
        assert sheet.question is not None
    assert server is not None
    assert sheet.question is None
    _follow.settle(5)
    (turn,) = _follow._follower().conversations._turns.values()
    assert "password" not in repr(turn)
    assert "c-1" not in repr(turn)
    assert "password" not in str(seen.spans()[0])


@pytest.mark.parametrize(
    ("settings", "signals"),
    [
        ({"derive": "none"}, []),
        ({"derive": "regenerate"}, ["regenerate"]),
        ({"derive": "rephrase"}, ["rephrase"]),
        ({}, ["regenerate", "rephrase"]),
    ],
)
def test_a_setting_says_what_is_found(settings, signals):
    """Some, all or none."""
    with telemetry(**settings) as seen:
        for text in (HOW, HOW, HOW_ELSE):
            answer(seen, text)
        assert [found[1] for found in derived(seen)] == signals


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "otel-feedback-follow"]


def test_without_conversations_there_is_no_thread(seen):
    """Who tells none pays for none; nor is there one where nothing is to be found."""
    answer(seen, HOW, conversation=None)
    answer(seen, HOW, conversation=None)
    assert (derived(seen), threads()) == ([], [])
    with telemetry(derive="none") as other:
        answer(other, HOW)
        assert threads() == []


def test_without_a_key_nothing_is_found_and_nothing_said_of_it(caplog):
    """The one warning says that there are no handles; nothing warns anew."""
    with telemetry(handle_keys=None, handle_keys_file="/nowhere/keys") as seen, lenient():
        with caplog.at_level(logging.DEBUG):
            handles = [answer(seen, HOW) for _ in range(3)]
        assert handles == [None] * 3
        assert (len(caplog.records), threads()) == (1, [])


def test_no_key_is_made_for_what_is_found(seen, tmp_path, caplog):
    """A service that gives no handles has no key; one that gives them is followed from then on."""
    with _runtime.in_use(Settings(state_dir=tmp_path)), lenient(), caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with interaction("a", conversation_id="c", input=HOW, tracer_provider=seen.provider):
                pass
        assert (list(tmp_path.iterdir()), caplog.records, threads()) == ([], [], [])
        handles = [answer(seen, HOW) for _ in range(2)]
        assert (None in handles, len(caplog.records), len(threads())) == (False, 1, 1)
        _follow.forget()


def test_time_decides_by_a_clock_what_was_abandoned():
    """After its window an answer without a later sign is abandoned, as surely as the table says; a judged one not."""
    now = [0.0]
    with telemetry(abandon_seconds=600) as seen:
        follower = _follow._followers.setdefault(os.getpid(), Follower(lambda: now[0]))
        left, voted = answer(seen, HOW, "x"), answer(seen, HOW, "y")
        record(voted, "thumbs", "up")
        _follow.settle(5)
        for now[0], found in (599.0, []), (600.0, [(target(seen, left), "abandon", "abandoned", 0.3)]):
            follower.put(_follow._nothing)
            assert derived(seen) == found


def test_the_thread_wakes_up_by_itself():
    """Nothing else has to happen for an answer to be abandoned."""
    with telemetry(abandon_seconds=0.05) as seen:
        answer(seen, HOW)
        until = time.monotonic() + 5
        while not derived(seen) and time.monotonic() < until:
            time.sleep(0.01)
        assert [found[1] for found in derived(seen)] == ["abandon"]


def test_what_the_thread_cannot_keep_up_with_is_not_followed(seen, monkeypatch):
    """The queue is bounded, and the host never waits."""
    monkeypatch.setattr(_follow, "MAX_EVENTS", 10)
    follower = _follow._follower()
    go_on = threading.Event()
    follower.put(lambda: go_on.wait(10) and None)
    for _ in range(100):
        answer(seen, HOW)
    assert follower._events.qsize() <= 10
    go_on.set()
    assert derived(seen)


def test_a_delivery_that_refuses_is_logged_once_and_the_service_goes_on(seen, caplog):
    """Derived feedback that can't be kept is lost: nobody was told that it was."""

    class Full:
        def submit(self, carrier):
            raise DeliveryError("It is full.")

    with (
        recorder_in_use(Recorder(codec=_runtime.codec(), settings=_runtime.settings(), delivery=Full())),
        lenient(),
        caplog.at_level(logging.DEBUG),
    ):
        for _ in range(4):
            answer(seen, HOW)
        _follow.settle(5)
    assert len(caplog.records) == 1


def test_a_row_that_was_made_a_persons_word_is_never_spoken_by_code(seen):
    """Whatever an application puts into the table: what is found stays out of satisfaction."""
    row = DEFAULT_SIGNALS["regenerate"]
    replace_signals(Signal("regenerate", "explicit", row.rule))
    try:
        answer(seen, HOW)
        answer(seen, HOW)
        assert derived(seen) == []
    finally:
        replace_signals(row)


SCRIPT = """
import os, sys, time
from opentelemetry.sdk.trace import TracerProvider
from otel_feedback import _follow, interaction
from otel_feedback.instrumentation import FeedbackInstrumentor

found = []
_follow.deliver_to(found.append)
provider = TracerProvider()
def ask(text):
    with interaction("a", conversation_id="c", input=text, tracer_provider=provider):
        pass
ask("How do I reset my password?")
if sys.argv[1] == "fork":
    pid = os.fork()
    for _ in range(1 if pid else 2):
        ask("How do I reset my password?")
    assert _follow.settle(5)
    print("parent" if pid else "child", [each.signal for each in found], flush=True)
    if pid:
        os.waitpid(pid, 0)
else:
    print("end", time.time(), flush=True)
"""


def script(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, *arguments],
        env={**os.environ, "OTEL_FEEDBACK_HANDLE_KEYS": "k:HS256:" + "A" * 43, "OTEL_FEEDBACK_ABANDON_SECONDS": "600"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


def test_a_forked_child_follows_conversations_of_its_own():
    """It has a thread, a queue and tables of its own; the parent's first question is not one of the child's."""
    done = script("fork")
    assert sorted(done.stdout.splitlines()) == ["child ['regenerate']", "parent ['regenerate']"]
    assert done.stderr == ""


def test_a_process_ends_without_waiting():
    """A window that is still open holds nobody up."""
    done = script("end")
    ended = float(done.stdout.split()[1])
    assert time.time() - ended < 2
    assert done.stderr == ""
