"""How long the pages' questions take in stores of 20,000, a million and ten million answers.

``python -m benchmarks.queries [--keep FOLDER]``. The stores are made by SQL, in the tables that the store itself made:
answers over 90 days, feedback on about a tenth of them, and at a million also three documents, four spans and a
question and answer of 480 characters for each.
"""

import argparse
import hashlib
import itertools
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from rich.console import Console

from benchmarks.measure import Figure, table
from otel_feedback.analysis.satisfaction import options, satisfaction, trend
from otel_feedback.intake import Batch, pack, trace_row
from otel_feedback.store import Store
from otel_feedback.store._answers import answer, answers
from otel_feedback.store.filters import FACTS, Filter

if TYPE_CHECKING:
    from concurrent.futures import Future

SMALL: Final = 20_000
LARGE: Final = 1_000_000
HUGE: Final = 10_000_000

DAYS: Final = 90
BEGAN_US: Final = 1_756_000_000_000_000
RECEIVED_NS: Final = 1_764_000_000_000_000_000

SPANS_OF_AN_ANSWER: Final = 4
SPANS_OF_A_CHUNK: Final = 512
CHUNK_BYTES: Final = 200_000
AT_ONCE: Final = 16
ROWS: Final = 50
"""Of a page."""
LOOKED_AT: Final = 20
"""Answers whose spans are really there."""

_SYLLABLES: Final = (
    *("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "wo"),
    *("ya", "ren", "tion", "ver", "ling", "con", "der", "ment", "pre", "sti"),
)


WORDS: Final = [
    *("".join(some) for some in itertools.islice(itertools.product(_SYLLABLES, repeat=2), 0, None, 2)),
    *("".join(some) for some in itertools.islice(itertools.product(_SYLLABLES, repeat=3), 0, None, 7)),
]
"""Frequent ones first."""
FREQUENT: Final = WORDS[0].upper()
RARE: Final = f"{WORDS[-1].capitalize()} {WORDS[-30]}"
NOW_AND_THEN: Final = f"{WORDS[500]} {WORDS[2]}"
"""One of 2,300 answers has it."""


class Timing(NamedTuple):
    """Milliseconds of several runs."""

    median: float
    slowest: float
    processor: float
    """Median of the time of all cores."""


def measure(question: Callable[[], object], runs: int = 15) -> Timing:
    """Ask several times; the first answer, which reads the files, doesn't count."""
    question()
    walls, processors = [], []
    for _ in range(runs):
        used, start = _processor_seconds(), time.perf_counter()
        question()
        walls.append((time.perf_counter() - start) * 1e3)
        processors.append((_processor_seconds() - used) * 1e3)
    return Timing(statistics.median(walls), max(walls), statistics.median(processors))


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def trace_of(number: int) -> str:
    """Return the trace id of an answer."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def span_of(number: int, place: int = 0) -> str:
    """Return the id of one of the spans of an answer; the first is the answer's own."""
    return hashlib.md5(f"{number} {place}".encode(), usedforsecurity=False).hexdigest()[:16]


def started_us(number: int, count: int) -> int:
    """Return when an answer started, in microseconds since 1970."""
    return BEGAN_US + number * (DAYS * 86_400_000_000 // count)


def build(folder: Path, count: int, *, content: bool) -> None:
    """Make a store.

    Args:
        folder: Where; nothing is done where there is one.
        count: Answers.
        content: Whether with documents, spans and texts.
    """
    if (folder / "done").exists():
        return
    with Store.open(folder) as store:
        if content:
            _write_chunks(store, count)
        with store.cursor() as connection:
            _build_main(connection, count, documents=content)
            for name in store.content_databases():
                connection.execute(f'USE "{name}"')
                _build_content(connection, count)
    (folder / "done").touch()


def _write_chunks(store: Store, count: int) -> None:
    """Write the chunks of all spans, most of them of noise, since nobody looks into them."""
    looked = {number * SPANS_OF_AN_ANSWER // SPANS_OF_A_CHUNK for number in looked_at(count)}
    waiting: list[Future[None]] = []
    for number in range((count - 1) * SPANS_OF_AN_ANSWER // SPANS_OF_A_CHUNK + 1):
        first = number * SPANS_OF_A_CHUNK // SPANS_OF_AN_ANSWER
        some = range(first, first + SPANS_OF_A_CHUNK // SPANS_OF_AN_ANSWER)
        data = _chunk(some, count) if number in looked else os.urandom(CHUNK_BYTES)
        marker = trace_row(bytes(16), [(number.to_bytes(8, "big"), b"", BEGAN_US)])
        waiting.append(store.submit(Batch(RECEIVED_NS, chunk=data, traces=[marker])))
        if len(waiting) == AT_ONCE:
            waiting.pop(0).result()


_STARTED: Final = f"make_timestamp({BEGAN_US} + i * ({DAYS * 86_400_000_000} // $count))"
_FACTS: Final = """
    'service ' || (hash(i) % 3) AS service, 'shop' AS namespace, 'production' AS environment,
    'template ' || (hash(i + 1) % 12) AS prompt_name, 'v' || (hash(i + 2) % 3) AS prompt_version,
    'model-' || (hash(i + 3) % 4) AS model, 'type ' || (hash(i + 4) % 6) AS query_type
"""


def _build_main(connection: duckdb.DuckDBPyConnection, count: int, *, documents: bool) -> None:
    connection.execute(
        f"""
        INSERT INTO interactions BY NAME SELECT
            md5(i::VARCHAR) AS trace_id, md5(i || ' 0')[:16] AS span_id, {_STARTED} AS started_at,
            (1000000 * (200 + hash(i) % 3000))::BIGINT AS duration_ns, 'POST /ask' AS name, {_FACTS},
            'resp-' || md5(i::VARCHAR)[:12] AS response_id, 'openai' AS provider,
            'conversation ' || (i // 4) AS conversation_id, true AS flagged, true AS complete
        FROM range($count) t(i)
        """,  # noqa: S608 - constants of ours
        {"count": count},
    )
    # Of every ten answers one has feedback: thumbs for most, stars, a copy or a correction for others; of every 13th
    # vote the first word stands in the history, since it was changed.
    connection.execute(
        f"""
        INSERT INTO feedback BY NAME
        WITH judged AS (
            SELECT *, {_STARTED} AS started_at, hash(i + 5) % 10 AS gesture, hash(i + 6) % 10 < 4 AS bad
            FROM range(3, $count, 10) t(i)
        ), votes AS (
            SELECT *, unnest(CASE WHEN hash(i + 7) % 13 = 0 THEN [1, 2] ELSE [2] END) AS state FROM judged
        )
        SELECT md5(i::VARCHAR) AS trace_id, md5(i || ' 0')[:16] AS span_id,
            CASE WHEN gesture < 6 THEN 'thumbs' WHEN gesture < 7 THEN 'stars' WHEN gesture < 9 THEN 'copy'
                ELSE 'text' END AS signal,
            CASE WHEN gesture < 7 THEN 'explicit' WHEN gesture < 9 THEN 'implicit' ELSE 'correction' END AS kind,
            'user ' || (hash(i + 8) % 5000) AS submitter, 'f' || i || '-' || state AS feedback_id,
            epoch_ns(started_at) + 20000000000 * state AS at_ns,
            CASE WHEN bad = (state = 2) THEN 'negative' ELSE 'positive' END AS sentiment,
            CASE WHEN hash(i + 7) % 13 = 0 AND state = 2 THEN CASE WHEN bad THEN 'positive' ELSE 'negative' END
                ELSE 'unset' END AS previous_sentiment,
            CASE WHEN bad THEN 0.0 ELSE 1.0 END AS score, CASE WHEN bad THEN 'down' ELSE 'up' END AS label,
            CASE WHEN bad THEN [['wrong', 'outdated', 'too_long'][1 + (hash(i + 9) % 3)::INT]] ELSE [] END AS reasons,
            'capture' AS source, true AS target_sampled, state = 1 AS first,
            md5(i || ' c' || state) AS carrier_trace_id, md5(i || ' d' || state)[:16] AS carrier_span_id, {_FACTS},
            make_timestamp_ns(epoch_ns(started_at) + 20000000000 * state)::TIMESTAMP AS given_at,
            started_at AS answered_at, state = 2 AS standing, true AS joined
        FROM votes ORDER BY i, state
        """,  # noqa: S608
        {"count": count},
    )
    if documents:
        connection.execute(
            f"""
            INSERT INTO documents BY NAME SELECT md5(i::VARCHAR) AS trace_id, md5(i || ' 0')[:16] AS span_id,
                {_STARTED} AS started_at, rank, 'document ' || (hash(i, rank) % 20000) AS document_id,
                1.0 / rank AS score
            FROM range($count) t(i), (SELECT unnest([1, 2, 3]) AS rank) ORDER BY i, rank
            """,  # noqa: S608
            {"count": count},
        )


def _build_content(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    connection.execute(f"SET VARIABLE words = {WORDS!r}")
    connection.execute(
        f"""
        INSERT INTO texts BY NAME SELECT md5(i::VARCHAR) AS trace_id, md5(i || ' 2')[:16] AS span_id,
            md5(i || ' 1')[:16] AS parent_id, {_STARTED} AS started_at,
            {_sentence(12, 0)} AS question, {_sentence(65, 100)} AS answer, 'span' AS source
        FROM range($count) t(i)
        """,  # noqa: S608
        {"count": count},
    )
    connection.execute(
        f"""
        INSERT INTO words BY NAME SELECT md5(i::VARCHAR) AS trace_id, md5(i || ' 0')[:16] AS span_id,
            'thumbs' AS signal, 'user ' || (hash(i + 8) % 5000) AS submitter, 'f' || i || '-2' AS feedback_id,
            epoch_ns({_STARTED}) + 40000000000 AS at_ns, {_sentence(10, 200)} AS comment
        FROM range(3, $count, 50) t(i)
        """,  # noqa: S608
        {"count": count},
    )
    members = " || ".join(
        f"md5(i || ' {place}')[:16] || "
        + (f"md5(i || ' {place - 1}')[:16]" if place else f"'{'0' * 16}'")
        + f" || printf('%016x', epoch_us({_STARTED}) + {place * 1000})"
        for place in range(SPANS_OF_AN_ANSWER)
    )
    connection.execute(
        f"""
        INSERT INTO traces BY NAME SELECT md5(i::VARCHAR) AS trace_id, {_STARTED} AS first_at,
            {_STARTED} + to_milliseconds({SPANS_OF_AN_ANSWER - 1}) AS last_at, {SPANS_OF_AN_ANSWER} AS spans,
            unhex({members}) AS members, 1 + i * {SPANS_OF_AN_ANSWER} // {SPANS_OF_A_CHUNK} AS chunk
        FROM range($count) t(i) ORDER BY i
        """,  # noqa: S608
        {"count": count},
    )


def looked_at(count: int) -> list[int]:
    """Return the answers whose spans are really there, spread over all times."""
    return [number * (count // LOOKED_AT) + 3 for number in range(LOOKED_AT)]


def _sentence(length: int, salt: int) -> str:
    """Return SQL for words, of which few are frequent and many are rare."""
    each = (
        f"getvariable('words')[1 + (pow(hash(i, {salt + place}) % 1000000 / 1e6, 3) * {len(WORDS) - 1})::INT]"
        for place in range(length)
    )
    return f"concat_ws(' ', {', '.join(each)})"


def _chunk(numbers: range, count: int) -> bytes:
    """Return the spans of some answers, 1.5 KB each, as a request's are kept."""
    data = TracesData()
    spans = data.resource_spans.add().scope_spans.add().spans
    for number, place in itertools.product(numbers, range(SPANS_OF_AN_ANSWER)):
        span = spans.add(trace_id=bytes.fromhex(trace_of(number)), span_id=bytes.fromhex(span_of(number, place)))
        if place:
            span.parent_span_id = bytes.fromhex(span_of(number, place - 1))
        span.name = f"span {place}"
        span.start_time_unix_nano = started_us(number, count) * 1000 + place * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
        for index in range(15):
            value = hashlib.sha256(f"{number} {place} {index}".encode()).hexdigest()
            span.attributes.add(key=f"attribute.{index}.of.the.span").value.string_value = value
    return pack(data.SerializeToString())


def figures(folder: Path, *, small: int = SMALL, large: int = LARGE, huge: int = HUGE) -> Iterator[Figure]:
    """Measure everything, in stores that are made in a folder; takes some minutes and 2 GB of disk."""
    for count in (small, huge):
        build(folder / str(count), count, content=False)
        with Store.open(folder / str(count)) as store:
            goal = 50.0 if count == small else 600.0
            size = f"{count:,} answers"
            yield _figure(f"satisfaction by template, {size}", goal, lambda: satisfaction(store))
            yield _figure(
                f"the same of a month and a service, {size}", goal, lambda: satisfaction(store, filter=_MONTH)
            )
            yield _figure(f"satisfaction by model and type, {size}", goal, lambda: satisfaction(store, by=_BY_MODEL))
            yield _figure(f"trend by day, {size}", goal, lambda: trend(store, bucket="day"))
            yield _figure(f"choices of the filters, {size}", None, lambda: options(store))
            yield _figure(f"choices of the filters of Satisfaction, {size}", None, lambda: options(store, tuple(FACTS)))
            yield _figure(f"page of bad answers, {size}", None, lambda: answers(store))
    build(folder / str(large), large, content=True)
    with Store.open(folder / str(large)) as store:
        yield from _pages(store, large)


_MONTH: Final = Filter.from_query({"since": "2025-09-01", "until": "2025-10-01", "service": "service 1"})
_BY_MODEL: Final = ("model", "query_type")


def _pages(store: Store, count: int) -> Iterator[Figure]:
    size = f"{count:,} answers"
    yield _figure(f"satisfaction by template, {size}", None, lambda: satisfaction(store))
    asked: dict[str, dict[str, Any]] = {
        "page of bad answers": {},
        "page of all answers": {"feedback": "all"},
        "page of bad answers of one reason and template": {
            "reason": "outdated",
            "filter": Filter(template="template 5", version="v1"),
        },
        "search of bad answers, a rare text": {"search": RARE},
        "search of bad answers, a frequent text": {"search": FREQUENT},
        "search of bad answers, nothing matches": {"search": "zebra"},
        "search of all answers, a rare text": {"feedback": "all", "search": RARE},
        "search of all answers, a frequent text": {"feedback": "all", "search": FREQUENT},
        "search of all answers, a text of one in 2,300": {"feedback": "all", "search": NOW_AND_THEN},
        "search of all answers, nothing matches": {"feedback": "all", "search": "zebra"},
        "search of all answers, nothing matches a frequent beginning": {
            "feedback": "all",
            "search": f"{WORDS[0]} {WORDS[1]} zebra",
        },
    }
    for what, query in asked.items():
        yield _figure(f"{what}, {size}", 200.0, partial(answers, store, **query))
        if "search" in query:
            question = partial(_search_on, store, query)
            yield _figure(f"{what}, {size}, in {question()} pages", None, question, runs=5)
    middle = _cursor(count // 2, count)
    for kind in ("bad", "all"):
        what = f"page of {kind} answers from the middle on, {size}"
        yield _figure(what, 200.0, partial(answers, store, feedback=kind, after=middle))
    numbers = itertools.cycle(looked_at(count))
    yield _figure(f"one answer, {size}", 200.0, lambda: _look(store, f"{trace_of(n := next(numbers))}-{span_of(n)}"))
    yield _figure(f"one answer by 12 digits, {size}", 200.0, lambda: _look(store, trace_of(next(numbers))[:12]))


def _search_on(store: Store, query: dict[str, Any]) -> int:
    """Search until a page is full or there are no more answers, as the command does; gives the number of pages."""
    pages, rows, after, looked_back_to = 0, 0, None, True
    while looked_back_to and rows < ROWS:
        page = answers(store, **query, limit=ROWS - rows, after=after)
        pages, rows, after, looked_back_to = pages + 1, rows + len(page.rows), page.next, bool(page.looked_back_to)
    return pages


def _look(store: Store, name: str) -> None:
    assert len(answer(store, name).spans) == SPANS_OF_AN_ANSWER


def _cursor(number: int, count: int) -> str:
    return f"{started_us(number, count)}-{trace_of(number)}-{span_of(number)}"


def _figure(what: str, goal: float | None, question: Callable[[], object], runs: int = 15) -> Figure:
    timing = measure(question, runs)
    detail = f"{timing.median:.0f} ms ({timing.slowest:.0f} at most, {timing.processor:.0f} of processor)"
    return Figure(what, detail, timing.median, goal)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="a folder for the stores, used again the next time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = list(figures(arguments.keep or Path(scratch)))
    Console().print(table("Questions to the store", rows))


if __name__ == "__main__":
    main()
