"""Bytes of anybody become a request, or one of two errors that quote nothing."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.unit.intake_parts import PARENT, RECEIVED, SPAN, STARTED, TRACE, logs, request

from otel_feedback.intake import (
    MalformedError,
    TooLargeError,
    decode_logs,
    decode_metrics,
    decode_traces,
    gunzip,
    read_traces,
    unpack,
    wire,
)
from otel_feedback.intake.chunks import decompress

SECRET = "s3cret"


def document(**span):
    """A request in OTLP's JSON, of one span."""
    whole = {"traceId": TRACE, "spanId": SPAN, "name": "n", "startTimeUnixNano": str(STARTED), **span}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [whole]}]}]}


def decode(value):
    """Decode a document, given as data or as text."""
    text = value if isinstance(value, (str, bytes)) else json.dumps(value)
    return decode_traces(text.encode() if isinstance(text, str) else text, json=True)


def only_span(decoded):
    """The one span of a request."""
    [span] = decoded.resource_spans[0].scope_spans[0].spans
    return span


def test_json_and_protobuf_become_the_same_batch():
    """Attributes of every kind, links, events, parents."""
    attributes = {
        "s": "text",
        "b": True,
        "i": -(2**62),
        "d": 0.5,
        "y": b"\x00\xff",
        "a": ["x", 1, [2.5]],
        "k": {"traceId": "not an id", "in": {"er": None}},
        "empty": "",
        "feedback.interaction": True,
        "feedback.model": "m-1",
    }
    events = [("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "n", "gen_ai.evaluation.score.value": 1.0})]
    sent = request({"attributes": attributes, "parent_id": PARENT, "events": events, "links": [(TRACE, SPAN)]})
    as_json = json_format.MessageToDict(sent)
    [span] = as_json["resourceSpans"][0]["scopeSpans"][0]["spans"]
    span |= {"traceId": TRACE, "spanId": SPAN.upper(), "parentSpanId": PARENT, "kind": 2, "later": {"unknown": [1]}}
    span["links"] = [{"traceId": TRACE, "spanId": SPAN}]
    only_span(sent).kind = 2
    raw = sent.SerializeToString()
    ours, theirs = decode(as_json), decode_traces(raw)
    assert ours == theirs
    assert read_traces(ours, received_ns=RECEIVED) == read_traces(theirs, received_ns=RECEIVED, raw=raw)


def test_times_and_ints_are_strings_or_numbers():
    """JavaScript sends strings, others numbers."""
    value = {"key": "n", "value": {"intValue": 5}}
    as_number = decode(document(startTimeUnixNano=STARTED, attributes=[value]))
    value["value"]["intValue"] = "5"
    assert as_number == decode(document(attributes=[value]))
    assert only_span(as_number).attributes[0].value.int_value == 5


def test_names_of_either_case_are_read():
    """Some senders write protobuf's own names."""
    old = {"resource_spans": [{"scope_spans": [{"spans": [{"trace_id": TRACE, "span_id": SPAN, "name": "n"}]}]}]}
    assert only_span(decode(old)).trace_id.hex() == TRACE


def test_an_id_that_is_no_hex_spoils_its_own_span_only():
    """The other is kept."""
    body = document()
    spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans.append({**spans[0], "traceId": "not hex at all"})
    batch = read_traces(decode(body), received_ns=RECEIVED)
    assert (batch.spans, batch.rejected) == (1, 1)


def test_half_an_emoji_is_replaced():
    """Browsers cut texts; UTF-8 can't hold the rest."""
    assert only_span(decode(json.dumps(document(name="a\ud83d")))).name == "a\ufffd"


def test_logs_and_metrics_are_decoded_too():
    """Ids of log records are hex, those of exemplars too."""
    sent = logs(("gen_ai.user.message", {}, {"content": "hi"}))
    as_json = json_format.MessageToDict(sent)
    as_json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0] |= {"traceId": TRACE, "spanId": SPAN}
    assert decode_logs(json.dumps(as_json).encode(), json=True) == decode_logs(sent.SerializeToString())
    point = {"asDouble": 1, "exemplars": [{"traceId": TRACE, "spanId": SPAN}]}
    metric = {"name": "m", "gauge": {"dataPoints": [point]}}
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    decoded = decode_metrics(json.dumps(body).encode(), json=True)
    exemplar = decoded.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].exemplars[0]
    assert exemplar.trace_id.hex() == TRACE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"\xff\xfe",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans": [5]}',
        b'{"resourceSpans": {"a": 1}}',
        b'{"resourceSpans": "s3cret"}',
        b'{"resourceSpans":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b"[" * 1_000_000,
        json.dumps(document(startTimeUnixNano="s3cret")).encode(),
        json.dumps(document(startTimeUnixNano=-1)).encode(),
        json.dumps(document(startTimeUnixNano=2**64)).encode(),
        json.dumps(document(startTimeUnixNano=1.5)).encode(),
        json.dumps(document(startTimeUnixNano=float("nan"))).encode(),
        json.dumps(document(startTimeUnixNano=float("inf"))).encode(),
        json.dumps(document(kind=float("inf"))).encode(),
        json.dumps(document(kind="s3cret")).replace('"s3cret"', "[]").encode(),
        json.dumps(document(attributes=[{"key": "k", "value": {"bytesValue": "s3cret*"}}])).encode(),
        json.dumps(document(attributes=[{"key": "k", "value": {"stringValue": "a", "intValue": 1}}])).encode(),
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": ' + b"9" * 5000 + b"}]}]}]}",
    ],
    ids=range(22),
)
def test_what_is_no_otlp_in_json_is_malformed(body):
    """Whatever it is, and nothing of it is in the error."""
    with pytest.raises(MalformedError) as caught:
        decode_traces(body, json=True)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_values_in_values_have_an_end():
    """A hundred levels, in either form."""
    nested = {"stringValue": "x"}
    for _ in range(200):
        nested = {"arrayValue": {"values": [nested]}}
    with pytest.raises(MalformedError):
        decode(document(attributes=[{"key": "k", "value": nested}]))
    deep = field(1, b"x")
    for _ in range(200):
        deep = field(5, field(1, deep))
    with pytest.raises(MalformedError):
        decode_traces(field(1, field(2, field(2, field(9, field(2, deep))))))


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"<html>", request({}).SerializeToString()[:-1]])
def test_what_is_no_protobuf_is_malformed(body):
    """Cut off, or something else."""
    with pytest.raises(MalformedError, match="not a valid OTLP request in protobuf"):
        decode_traces(body)


NO_UTF8 = b"\xff\xfe"


def spoil(sent, *marks):
    """The bytes of a request in which some texts are no UTF-8."""
    body = sent.SerializeToString()
    for mark in marks:
        assert body.count(mark) == 1
        body = body.replace(mark, (NO_UTF8 * len(mark))[: len(mark)])
    return body


@pytest.mark.parametrize("decoder", [decode_traces, decode_logs, decode_metrics])
def test_a_text_that_is_no_utf8_is_malformed(decoder):
    """The specification has UTF-8 only; where nothing else is there, nothing is kept."""
    with pytest.raises(MalformedError):
        decoder(spoil(request({"name": "plain"}), b"plain"))


def several():
    """A request of two services, the first with two scopes."""
    sent = ExportTraceServiceRequest()
    for number, (service, scope) in enumerate([("shop", "a"), ("shop", "b"), ("bank", "c")]):
        if number != 1:
            group = sent.resource_spans.add()
            group.resource.attributes.add(key="service.name").value.string_value = f"service-{service}"
        scoped = group.scope_spans.add()
        scoped.scope.name = f"scope-{scope}"
        for place in range(2):
            span = scoped.spans.add(trace_id=bytes.fromhex(TRACE), name=f"name-{scope}{place}")
            span.span_id = bytes([7, 7, 7, 7, 7, 7, number, place])
            span.attributes.add(key="text").value.string_value = f"text-{scope}{place}"
    return sent


SPOILT = {
    "a name": ([b"name-a0"], {"a1", "b0", "b1", "c0", "c1"}),
    "an attribute": ([b"text-b1"], {"a0", "a1", "b0", "c0", "c1"}),
    "of two services": ([b"text-b1", b"name-c0"], {"a0", "a1", "b0", "c1"}),
    "a scope": ([b"scope-a"], {"b0", "b1", "c0", "c1"}),
    "a resource": ([b"service-shop"], {"c0", "c1"}),
    "a resource and a span": ([b"service-bank", b"text-a0"], {"a1", "b0", "b1"}),
    "a scope and its span": ([b"scope-c", b"text-c0"], {"a0", "a1", "b0", "b1"}),
}


@pytest.mark.parametrize(("marks", "kept"), SPOILT.values(), ids=SPOILT)
def test_a_span_that_cannot_be_read_costs_no_other(marks, kept):
    """Nor its service's name; and what is kept can be read again, without the rest."""
    body = spoil(several(), *marks)
    batch = read_traces(decode_traces(body), received_ns=RECEIVED, raw=body)
    assert batch.rejected == 6 - len(kept)
    stored = {span.span.name.removeprefix("name-"): span.resource["service.name"] for span in unpack(batch.chunk)}
    assert stored == {name: f"service-{'bank' if name[0] == 'c' else 'shop'}" for name in kept}
    assert NO_UTF8 not in decompress(batch.chunk)


def test_what_cannot_be_read_and_is_no_span_spoils_the_request():
    """It could not be told that something was left out."""
    sent = several()
    sent.resource_spans.add().schema_url = "http-x"
    with pytest.raises(MalformedError):
        decode_traces(spoil(sent, b"http-x"))


def test_what_protobuf_reads_in_parts_alone_is_not_kept():
    """A value at the last level that a span may have is beyond the last that a request may have."""
    sent = several()
    value = sent.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value
    depth = 0
    while depth < wire.MAX_DEPTH and decodes(sent):
        value = value.array_value.values.add()
        depth += 1
    assert 0 < depth < wire.MAX_DEPTH
    with pytest.raises(MalformedError):
        decode_traces(spoil(sent, b"name-c0"))


def decodes(sent):
    """Whether protobuf reads what it writes."""
    try:
        type(sent).FromString(sent.SerializeToString())
    except DecodeError:
        return False
    return True


def test_of_logs_and_metrics_nothing_is_kept_that_cannot_be_read_as_a_whole():
    """Their senders would not hear what is missing."""
    sent = logs(("gen_ai.user.message", {}, {"content": "hi"}), ("gen_ai.user.message", {}, {"content": "spoilt"}))
    with pytest.raises(MalformedError):
        decode_logs(spoil(sent, b"spoilt"))


def test_an_empty_request_is_one():
    """SDKs send them."""
    assert decode_traces(b"") == decode_traces(b"{}", json=True)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_do_anything_else(body, as_json):
    """A request or a ``MalformedError``."""
    try:
        decoded = decode_traces(body, json=as_json)
    except MalformedError:
        return
    read_traces(decoded, received_ns=RECEIVED)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["traceId", "spanId", "name", "startTimeUnixNano", "attributes", "events", "links", "kind"]),
        _json,
    )
)
def test_no_json_does_anything_else(span):
    """Right keys with any value."""
    try:
        decoded = decode(json.dumps(document(**span)))
    except MalformedError:
        return
    read_traces(decoded, received_ns=RECEIVED)


def test_a_body_over_the_limit_is_too_large(monkeypatch):
    """JSON has a lower limit, since it takes more memory."""
    monkeypatch.setattr(wire, "MAX_JSON", 10)
    monkeypatch.setattr(wire, "MAX_BODY", 20)
    for body, as_json in ((b" " * 11, True), (b" " * 21, False)):
        with pytest.raises(TooLargeError):
            decode_traces(body, json=as_json)


@given(st.binary(max_size=5000), st.integers(1, 9))
def test_gzip_is_undone(data, level):
    """Any level."""
    assert gunzip(gzip.compress(data, level), 5000) == data


def test_several_members_are_one_text():
    """As the format says."""
    assert gunzip(gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"c"), 3) == b"abc"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        zlib.compress(b"zlib is no gzip"),
        gzip.compress(b"cut off")[:-9],
        gzip.compress(b"no trailer")[:-8],
        gzip.compress(b"wrong sum")[:-8] + bytes(8),
        gzip.compress(b"rest") + b"rest",
    ],
    ids=range(7),
)
def test_what_is_no_gzip_is_malformed(body):
    """Garbage behind the end as well."""
    with pytest.raises(MalformedError):
        gunzip(body, 1000)


def test_a_bomb_stops_at_the_limit():
    """Memory stays near the limit, however much would come out; several small members are added up."""
    bomb = gzip.compress(bytes(50_000_000), 1)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="more than 4000000 bytes"):
            gunzip(bomb, 4_000_000)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(TooLargeError):
        gunzip(gzip.compress(b"abc") * 10, 29)
    assert gunzip(gzip.compress(b"abc") * 10, 30) == b"abc" * 10


def test_members_are_bounded():
    """Each copies all that is behind it: a million of them would take hours."""
    assert gunzip(gzip.compress(b"a") * wire.MAX_MEMBERS, 1000) == b"a" * wire.MAX_MEMBERS
    for content in (b"a", b""):
        with pytest.raises(MalformedError, match="more than 100 gzip members"):
            gunzip(gzip.compress(content) * (wire.MAX_MEMBERS + 1), 1000)


def field(number, content):
    """A field of protobuf that has a length."""
    size, digits = len(content), bytearray()
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *digits, size]) + content


EMPTY = b"\x0a\x00", b"\x12\x00"


@pytest.mark.parametrize(
    "body",
    [EMPTY[0] * 1001, field(1, EMPTY[1] * 1001), field(1, field(2, EMPTY[1] * 1001))],
    ids=["groups", "scopes", "spans"],
)
def test_a_request_of_too_many_empty_parts_is_too_large(monkeypatch, body):
    """Before they are made: each takes a hundred times its bytes in memory."""
    assert decode_traces(body) is not None
    monkeypatch.setattr(wire, "MAX_PARTS", 1000)
    with pytest.raises(TooLargeError, match="more than 1000 parts"):
        decode_traces(body)


def test_of_a_large_request_attributes_count_too(monkeypatch):
    """Of a small one they can't be many."""
    body = field(1, field(2, field(2, field(9, b"") * 1001)))
    monkeypatch.setattr(wire, "MAX_PARTS", 1000)
    assert decode_traces(body) is not None
    monkeypatch.setattr(wire, "_LARGE", 1000)
    with pytest.raises(TooLargeError):
        decode_traces(body)


def test_a_document_of_too_many_objects_is_too_large(monkeypatch):
    """Even where they mean nothing."""
    body = json.dumps({"x": [{}] * 100}).encode()
    assert decode_traces(body, json=True) is not None
    monkeypatch.setattr(wire, "MAX_OBJECTS", 100)
    with pytest.raises(TooLargeError, match="more than 100 objects"):
        decode_traces(body, json=True)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0b\x0c",  # a group
        b"\x80" * 11,  # an endless number
        b"\x09\x00",  # eight bytes, of which one is there
        field(1, b"\x12\x05a"),  # longer than what it is in
    ],
    ids=range(4),
)
def test_what_protobuf_cannot_be_is_malformed(body):
    """Already when its parts are counted."""
    with pytest.raises(MalformedError):
        decode_traces(body)


def test_fields_of_all_wire_types_are_passed_over():
    """Of a later version of the protocol, at every level."""
    unknown = b"\xf8\x3f\xac\x02" + b"\xf9\x3f" + bytes(8) + b"\xfd\x3f" + bytes(4) + b"\xfa\x3f\x01x"
    span = field(2, field(5, b"name") + unknown)
    decoded = decode_traces(field(1, field(2, span + unknown) + unknown) + unknown)
    assert only_span(decoded).name == "name"
