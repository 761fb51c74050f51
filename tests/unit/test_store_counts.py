"""What a store says that it has."""

import datetime as dt

from tests.unit.store_parts import SECOND, STARTED, batch, feedback, interaction, opened, raw

from otel_feedback.intake import pack
from otel_feedback.store._counts import count

START = dt.datetime.fromtimestamp(STARTED / SECOND, dt.timezone.utc)


def test_an_empty_store_has_nothing(tmp_path):
    """Noughts, and no times."""
    with opened(tmp_path) as store:
        assert count(store) == (0, None, 0, None, 0, 0, 0, None, ())


def test_only_what_says_that_it_is_an_answer_counts_as_one(tmp_path):
    """A span that is here because somebody judged it is none; its feedback counts, and has its answer."""
    judged = feedback(2, "a", seconds=5)
    copied = feedback(1, "b", seconds=3, kind="implicit", signal="copy")
    with opened(tmp_path) as store:
        store.write(batch(interaction(1), interaction(2, started_ns=STARTED + SECOND, flagged=False), judged, copied))
        store.write(batch(feedback(3, "c", seconds=1), raw(1), raw(3), chunk=pack(b"")))
        store.settle()
        found = count(store)
    assert (found.interactions, found.interaction_at) == (1, START)
    assert (found.feedback, found.explicit, found.joined) == (3, 2, 2)
    assert found.feedback_at == START + dt.timedelta(seconds=5)
    assert (found.spans, found.span_at) == (2, START)
    assert found.services == ("rag",)
