"""Our own encoder of carriers, held against the SDK's."""

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_feedback._carrier import Carrier
from otel_feedback.outbox._encode import encode
from otel_feedback.outbox._rows import Row
from otel_feedback.outbox._spans import spans_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(texts, max_size=3).map(tuple),
)
attributes = st.dictionaries(texts.filter(bool), values, max_size=8)
trace_ids = st.integers(1, 2**128 - 1)
span_ids = st.integers(1, 2**64 - 1)
carriers = st.builds(
    Carrier,
    name=texts,
    time_ns=st.integers(1, 2**62),
    trace_id=trace_ids,
    span_id=span_ids,
    sampled=st.booleans(),
    same_trace=st.booleans(),
    attributes=attributes,
    events=st.lists(st.tuples(texts, attributes), max_size=2).map(tuple),
)
resources = st.sampled_from([{}, {"service.name": "a"}, {"service.name": "b", "n": 1, "tags": ("x", "y"), "ok": True}])
rows = st.builds(
    Row,
    number=st.just(1),
    accepted_ns=st.just(1),
    tries=st.just(0),
    size=st.just(1),
    carrier=carriers,
    trace_id=trace_ids,
    span_id=span_ids,
    resource=resources,
)


@settings(max_examples=300, deadline=None)
@given(rows)
def test_a_request_is_the_one_that_the_sdk_makes(row):
    """To the last byte, whatever the values."""
    spans = spans_of([row])
    assert encode(spans).SerializeToString(deterministic=True) == encode_spans(spans).SerializeToString(
        deterministic=True
    )


@settings(deadline=None)
@given(st.lists(rows, max_size=6))
def test_many_carriers_keep_their_order_and_their_resource(many):
    """Each span is in the request once, in its place, under the resource that it was recorded with."""
    spans = spans_of(many)
    request = encode(spans)
    found = [
        (span.span_id, {each.key for each in group.resource.attributes})
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    assert found == [(row.span_id.to_bytes(8, "big"), set(row.resource)) for row in many]


def test_nothing_is_an_empty_request():
    """No carrier, no resource."""
    assert encode([]) == encode_spans([])
