"""Find the sheet that a span, a context or a stretch of code writes to.

Sheets are found by the (trace id, span id) of any span below them, in tables of bounded size. Every table is a
dictionary used through single, atomic operations: no lock is held when a process forks or a thread dies.
"""

import contextvars
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_feedback import _facts, _guard, _runtime, semconv
from otel_feedback._dialects import Role
from otel_feedback._facts import Call, CallNote, FactSheet, Kind, PromptStamp
from otel_feedback._handle import Handle

Key = tuple[int, int]
"""(trace id, span id)."""


MAX_ENDED: Final = 1000
"""Ended spans of one sheet that are forgotten with it; those beyond are forgotten as the table's oldest."""

MAX_MODELS: Final = 1000
"""Models that were asked for whose exact answering model is remembered."""

MAX_VERSIONS: Final = 50
"""Different fingerprints of one undeclared prompt that are told apart."""

MAX_VERSIONED_NAMES: Final = 1000
"""Undeclared prompts whose fingerprints are told apart."""


class Node(NamedTuple):
    """One live span below a sheet."""

    sheet: FactSheet
    role: Role
    call: Call | None = None


K = TypeVar("K")
T = TypeVar("T")


def bounded_put(table: "OrderedDict[K, T]", key: K, value: T, limit: int) -> None:
    """Put an entry into a table and let go of the oldest ones beyond ``limit``."""
    table[key] = value
    while len(table) > limit:
        try:
            table.popitem(last=False)
        except KeyError:  # noqa: PERF203 - other threads emptied it meanwhile
            break


class Ledger:
    """All sheets of this process, by the spans below them."""

    def __init__(self) -> None:
        # Ordered ones: a plain dict that is full takes ever longer to find its oldest entry.
        self._live: OrderedDict[Key, Node] = OrderedDict()
        self._ended: OrderedDict[Key, Node] = OrderedDict()
        """Spans that ended inside an open sheet: what was started from them still belongs there."""
        self._finished: OrderedDict[Key, dict[str, str]] = OrderedDict()
        self._versions: dict[str, set[str]] = {}
        self._models: dict[str, str] = {}

    def note_model(self, asked: str, answered: str) -> None:
        """Remember which exact model answered for the one that was asked for."""
        if asked in self._models or len(self._models) < MAX_MODELS:
            self._models[asked] = answered

    def model(self, asked: str) -> str:
        """Return the exact model that answered last for this one; itself before any answer.

        A stream's handle leaves before the answer tells its model, and a bare inference has ended when it does; by
        this their votes and their interactions have one label all the same.
        """
        return self._models.get(asked, asked)

    def version(self, name: str, fingerprint: str) -> str:
        """Return the version of a prompt that nobody declared: its fingerprint, while there are few of them.

        A system instruction that holds the date or the retrieved passages has a new fingerprint at each call; as
        metric labels these would never end, so from ``MAX_VERSIONS`` on a name's version is ``varies``.
        """
        if name not in self._versions and len(self._versions) >= MAX_VERSIONED_NAMES:
            return semconv.VARIES
        seen = self._versions.setdefault(name, set())
        if fingerprint not in seen:
            if len(seen) >= MAX_VERSIONS:
                _guard.warn_once(
                    f"varies:{name}",
                    "otel-feedback: the system instruction of %s differs from call to call, so its version reads "
                    "'varies'. Declare the unchanging part as PromptTemplate(name, text) to tell versions apart.",
                    name,
                )
                return semconv.VARIES
            seen.add(fingerprint)
        return fingerprint

    def node(self, key: Key) -> Node | None:
        """Find the sheet and role of a span; None where its sheet is closed."""
        node = self._live.get(key) or self._ended.get(key)
        return node if node is not None and node.sheet.open else None

    def put(self, key: Key, node: Node) -> None:
        """Remember a live span."""
        bounded_put(self._live, key, node, _runtime.settings().live_spans)

    def end(self, key: Key) -> Node | None:
        """Take a span off the live ones when it ends and return what it was, if it was known."""
        node = self._live.pop(key, None)
        if node is not None and node.sheet.open and node.sheet.key != key:
            bounded_put(self._ended, key, node, _runtime.settings().finished_interactions)
            if node.sheet.ended is None:
                node.sheet.ended = [key]
            elif len(node.sheet.ended) < MAX_ENDED:
                node.sheet.ended.append(key)
        return node

    def close(self, sheet: FactSheet, facts: dict[str, str] | None = None) -> None:
        """Close a sheet when its span ends, and keep its facts for ``record()`` in this process.

        Args:
            sheet: The sheet.
            facts: Its facts, where the caller has them at hand.
        """
        self._live.pop(sheet.key, None)
        if sheet.is_interaction and sheet.context.is_valid:
            bounded_put(self._finished, sheet.key, facts or sheet.facts(), _runtime.settings().finished_interactions)
        sheet.close()
        for ended in sheet.ended or ():
            self._ended.pop(ended, None)

    def renew(self, sheet: FactSheet) -> None:
        """Keep what was learned of an interaction after its span ended."""
        if sheet.key in self._finished:
            self._finished[sheet.key] = sheet.facts()

    def facts(self, key: Key) -> dict[str, str] | None:
        """Return what is known of an interaction that runs or has ended in this process, or None."""
        finished = self._finished.get(key)
        if finished is not None:
            return finished
        node = self._live.get(key)
        if node is None or node.sheet.key != key:
            return None
        return node.sheet.facts()

    def clear(self) -> None:
        """Forget everything: for tests."""
        self._live.clear()
        self._ended.clear()
        self._finished.clear()
        self._versions.clear()
        self._models.clear()
        _facts.forget_paths()

    def sizes(self) -> tuple[int, int, int]:
        """Return how many live, ended and finished entries there are."""
        return len(self._live), len(self._ended), len(self._finished)


ledger: Final = Ledger()
"""The one ledger of this process: span ids are unique across providers."""

_SHEET: Final = "otel-feedback-sheet"
_call_note: contextvars.ContextVar[CallNote | None] = contextvars.ContextVar("otel_feedback_call", default=None)


class _Rendered(NamedTuple):
    """A template that was rendered in this task or thread, for the inference that comes next in it."""

    sheet: "weakref.ref[FactSheet] | None"
    stamp: PromptStamp


_rendered: contextvars.ContextVar[_Rendered | None] = contextvars.ContextVar("otel_feedback_prompt", default=None)


def key_of(context: trace.SpanContext) -> Key:
    """Return the key of a span in the tables."""
    return context[:2]  # it is a tuple, and its properties cost a call each


def with_sheet(sheet: FactSheet, context: otel_context.Context | None = None) -> otel_context.Context:
    """Return a context that carries a sheet past spans which the tables don't know (sampled out, or lost)."""
    return otel_context.set_value(_SHEET, sheet, context)


def sheet_in(context: otel_context.Context | None) -> FactSheet | None:
    """Return the open sheet that a context carries, or None."""
    sheet = otel_context.get_value(_SHEET, context)
    return sheet if isinstance(sheet, FactSheet) and sheet.open else None


def current_sheet(context: otel_context.Context | None = None) -> FactSheet | None:
    """Return the sheet that the current span writes to, or None outside of any."""
    node = ledger.node(key_of(trace.get_current_span(context).get_span_context()))
    return node.sheet if node is not None else sheet_in(context)


def current_interaction() -> FactSheet | None:
    """Return the sheet of the innermost ``interaction()`` around this code, or None."""
    sheet = sheet_in(None)
    return sheet if sheet is not None and sheet.kind is Kind.OWN else None


def finished_facts(trace_id: int, span_id: int) -> Mapping[str, str] | None:
    """Return the facts of an interaction of this process by the names of ``semconv``, or None."""
    return ledger.facts((trace_id, span_id))


def declare_prompt(stamp: PromptStamp) -> None:
    """Say which template was just rendered: it is the one of the inference that comes next."""
    sheet = current_sheet()
    _rendered.set(_Rendered(weakref.ref(sheet) if sheet is not None else None, stamp))
    if sheet is not None:
        sheet.prompt = stamp


def take_prompt(sheet: FactSheet) -> PromptStamp | None:
    """Return the template for what comes next on a sheet.

    What this very task or thread rendered comes first, and once, so that parallel calls below one sheet keep theirs
    apart; else it is what was rendered last for the sheet, in a helper's thread, say, or for an earlier call.
    """
    rendered = _rendered.get()
    if rendered is not None and rendered.sheet is not None and rendered.sheet() is sheet:
        _rendered.set(None)
        return rendered.stamp
    return sheet.prompt


def take_loose_prompt() -> PromptStamp | None:
    """Return the template that was rendered outside of any span, once."""
    rendered = _rendered.get()
    if rendered is None or rendered.sheet is not None:
        return None
    _rendered.set(None)
    return rendered.stamp


def note_call(note: CallNote | None) -> "contextvars.Token[CallNote | None]":
    """Leave word of a client's arguments for the inference span that is about to start."""
    return _call_note.set(note)


def forget_call(token: "contextvars.Token[CallNote | None]") -> None:
    """Take the word back when the call has returned."""
    _call_note.reset(token)


def current_call() -> CallNote | None:
    """Return the word that was left for this call, or None."""
    return _call_note.get()


def handle_of(sheet: FactSheet) -> str | None:
    """Make the handle of an interaction, with the facts known by now; None without a key or a valid span."""
    codec = _runtime.codec()
    context = sheet.context
    if codec is None or not codec.can_issue or not context.is_valid:
        return None
    facts = sheet.facts()
    sheet.handed = True
    return codec.issue(
        trace_id=context.trace_id,
        span_id=context.span_id,
        sampled=context.trace_flags.sampled,
        facts=facts,
        user=facts.get(semconv.USER_HASH),
    )


def reference_to(sheet: FactSheet, issued_at: int | None = None) -> Handle | None:
    """Return what the handle of an interaction says, for our own use; None where there could be none.

    Args:
        sheet: The interaction.
        issued_at: Second since the epoch at which it was answered; None for now.
    """
    codec = _runtime.codec()
    context = sheet.context
    if codec is None or not codec.can_issue or not context.is_valid:
        return None
    facts = sheet.facts()
    return codec.refer(
        trace_id=context.trace_id,
        span_id=context.span_id,
        sampled=context.trace_flags.sampled,
        facts=facts,
        user=facts.get(semconv.USER_HASH),
        issued_at=codec.now() if issued_at is None else issued_at,
    )
