"""Every name that otel-feedback puts into telemetry: spans, events, attributes, headers and metrics.

Nothing else in this repository spells one of these names: the dashboards are generated from here, and tests hold
the Collector's configuration and ``docs/conventions.md`` against this module.

Names that other conventions own keep their published spelling:
the GenAI conventions of OpenTelemetry (https://opentelemetry.io/docs/specs/semconv/gen-ai/) for ``gen_ai.*``,
OpenInference (https://github.com/Arize-ai/openinference, ``spec/annotations.md``) for ``openinference.*`` and
``annotations.*``. The ``_incubating`` constants of the Python package are deprecated, hence they are defined here.
"""

from typing import Final

# --- Scope --------------------------------------------------------------------------------------------------------

SCOPE: Final = "otel_feedback"
"""Name of our instrumentation scope."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
"""Version of OpenTelemetry's conventions that our spans follow."""

# --- HTTP ---------------------------------------------------------------------------------------------------------

HANDLE_HEADER: Final = "feedback-handle"
"""Response header that gives the page its handle; exposed through ``Access-Control-Expose-Headers``."""

HANDLE_AUDIENCE: Final = "otel-feedback"
"""The ``aud`` claim of every handle."""

# --- Span names ---------------------------------------------------------------------------------------------------

SPAN_INTERACTION: Final = "invoke_workflow "
"""Prefix; the name follows. INTERNAL span that ``interaction(name)`` opens."""

SPAN_FEEDBACK: Final = "feedback {signal}"
"""INTERNAL span that carries one feedback: the carrier."""

# --- The interaction span -----------------------------------------------------------------------------------------

FEEDBACK_INTERACTION: Final = "feedback.interaction"
"""bool. ``true``: this span stands for one answer that can be judged, and it is counted as one."""

FEEDBACK_PROMPT_NAME: Final = "feedback.prompt.name"
"""string. The prompt template of the answer; a service that declares none gets its route."""

FEEDBACK_PROMPT_VERSION: Final = "feedback.prompt.version"
"""string. The template's version; without one, its fingerprint."""

FEEDBACK_PROMPT_FINGERPRINT: Final = "feedback.prompt.fingerprint"
"""string. First 12 hex digits of SHA-256 over the template's UTF-8 text: shows an edit that nobody versioned."""

FEEDBACK_MODEL: Final = "feedback.model"
"""string. The model that answered: the response's, else the request's."""

FEEDBACK_PROVIDER: Final = "feedback.provider"
"""string. The model's provider, as ``gen_ai.provider.name`` spells it."""

FEEDBACK_RESPONSE_ID: Final = "feedback.response.id"
"""string. The provider's id of the answer."""

FEEDBACK_DOCUMENTS: Final = "feedback.documents"
"""string. JSON array of ``{"id": ..., "score": ...}``; the documents' text only where content is captured."""

FEEDBACK_QUERY_TYPE: Final = "feedback.query.type"
"""string. What the user wanted, of few values: given, by rule or by cluster."""

FEEDBACK_SERVICE_NAME: Final = "feedback.service.name"
"""string. ``service.name`` of the service that answered (the carrier may come from another)."""

FEEDBACK_SERVICE_NAMESPACE: Final = "feedback.service.namespace"
"""string. ``service.namespace`` of the service that answered."""

FEEDBACK_ENVIRONMENT: Final = "feedback.environment"
"""string. ``deployment.environment.name`` of the service that answered."""

GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
"""string. The conversation that the answer belongs to."""

USER_HASH: Final = "user.hash"
"""string. Keyed pseudonym, ``<key id>:<32 hex digits>``. On an interaction: who asked. On a carrier: who judged."""

ERROR_TYPE: Final = "error.type"
"""string. Class of the exception that ended an interaction; its message may hold a user's text and is not recorded."""

# --- The carrier span ---------------------------------------------------------------------------------------------

FEEDBACK_TARGET_TRACE_ID: Final = "feedback.target.trace_id"
"""string. 32 hex digits: trace of the interaction span; the same as the carrier's one Link."""

FEEDBACK_TARGET_SPAN_ID: Final = "feedback.target.span_id"
"""string. 16 hex digits: id of the interaction span."""

FEEDBACK_TARGET_SAMPLED: Final = "feedback.target.sampled"
"""bool. Whether the interaction span was sampled, so that response rates compare like with like."""

FEEDBACK_ID: Final = "feedback.id"
"""string. Id of this feedback; the same id counts once within one vote."""

FEEDBACK_KIND: Final = "feedback.kind"
"""string. ``explicit``, ``implicit`` or ``correction``."""

FEEDBACK_SIGNAL: Final = "feedback.signal"
"""string. The gesture: ``thumbs``, ``stars``, ``copy``, ... Every carrier has it and no other span does."""

FEEDBACK_SENTIMENT: Final = "feedback.sentiment"
"""string. ``positive``, ``negative``, ``neutral`` or ``retracted``."""

FEEDBACK_PREVIOUS_SENTIMENT: Final = "feedback.previous_sentiment"
"""string. What the vote was before: ``unset`` before any vote, else a sentiment. Equal to the sentiment on a late
detail, which is no new opinion."""

FEEDBACK_FIRST: Final = "feedback.first"
"""bool. ``true`` on the first explicit feedback of its interaction, whatever signal and submitter: lets a counter of
carriers count distinct interactions that were voted on."""

FEEDBACK_REVISES: Final = "feedback.revises"
"""string. ``feedback.id`` of the carrier that this one replaces; absent on the first."""

FEEDBACK_SOURCE: Final = "feedback.source"
"""string. Where the feedback came in: ``capture`` (with a handle, over HTTP), ``record`` (by the service) or
``derived`` (the service's process found it by itself)."""

FEEDBACK_REASONS: Final = "feedback.reasons"
"""string[]. Reason codes of few values, such as ``outdated``."""

FEEDBACK_CONFIDENCE: Final = "feedback.confidence"
"""double in [0, 1]. How sure a derived signal is."""

OPENINFERENCE_SPAN_KIND: Final = "openinference.span.kind"
"""string. ``EVALUATOR`` on a carrier."""

ANNOTATION_NAME: Final = "annotations.0.annotation.name"
"""string. The signal."""

ANNOTATION_SCORE: Final = "annotations.0.annotation.score"
"""double in [0, 1]; absent on a retraction."""

ANNOTATION_LABEL: Final = "annotations.0.annotation.label"
"""string. The value in words; ``retracted`` on a retraction."""

ANNOTATION_EXPLANATION: Final = "annotations.0.annotation.explanation"
"""string. The comment, where feedback text is captured."""

ANNOTATION_ANNOTATOR_KIND: Final = "annotations.0.annotation.annotator_kind"
"""string. ``HUMAN`` for a person, ``CODE`` for a derived signal."""

ANNOTATION_IDENTIFIER: Final = "annotations.0.annotation.identifier"
"""string. 32 hex digits over submitter and signal: the same on every revision of a vote."""

ANNOTATION_METADATA: Final = "annotations.0.annotation.metadata"
"""string. JSON object with the feedback's id and reasons."""

# --- Events on the carrier span -----------------------------------------------------------------------------------

EVENT_EVALUATION_RESULT: Final = "gen_ai.evaluation.result"
"""Event of the GenAI conventions: one judgement."""

GEN_AI_EVALUATION_NAME: Final = "gen_ai.evaluation.name"
"""string. The signal."""

GEN_AI_EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
"""double in [0, 1]; absent on a retraction."""

GEN_AI_EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
"""string. The value in words; ``retracted`` on a retraction."""

GEN_AI_EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
"""string. The comment, where feedback text is captured."""

GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
"""string. The provider's id of the answer that is judged."""

EVENT_CORRECTION: Final = "feedback.correction"
"""Event with a corrected text, label or choice, where feedback text is captured."""

FEEDBACK_CORRECTION_ORIGINAL: Final = "feedback.correction.original"
"""string. What the system gave: text, predicted label or recommended choice."""

FEEDBACK_CORRECTION_CORRECTED: Final = "feedback.correction.corrected"
"""string. What the user made of it: text, right label or own choice."""

# --- Names of the GenAI conventions that the processor reads or completes -----------------------------------------

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
"""string. ``chat``, ``text_completion``, ``generate_content``, ``retrieval``, ``embeddings``, ``execute_tool``,
``invoke_agent``, ``invoke_workflow``, ..."""

GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"
"""string. Name of a workflow: what ``interaction(name)`` was given."""

GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
"""string. ``openai``, ``anthropic``, ..."""

GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
"""string. The model that was asked for."""

GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
"""string. The model that answered."""

GEN_AI_PROMPT_NAME: Final = "gen_ai.prompt.name"
"""string. Added to inference spans that have none."""

GEN_AI_PROMPT_VERSION: Final = "gen_ai.prompt.version"
"""string. Added to inference spans that have none."""

GEN_AI_PROMPT_VARIABLE: Final = "gen_ai.prompt.variable."
"""Prefix; string. One variable of the template, where content is captured."""

GEN_AI_RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
"""Array of ``{"id", "score", ...}``, or the same as a JSON string."""

GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
"""JSON. The system instruction, where an instrumentation captures content."""

GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
"""JSON. The messages sent, where content is captured."""

GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""JSON. The messages received, where content is captured."""

# --- Values -------------------------------------------------------------------------------------------------------

POSITIVE: Final = "positive"
NEGATIVE: Final = "negative"
NEUTRAL: Final = "neutral"
RETRACTED: Final = "retracted"
UNSET: Final = "unset"
SENTIMENTS: Final = (POSITIVE, NEGATIVE, NEUTRAL, RETRACTED)
"""Values of ``feedback.sentiment``; ``feedback.previous_sentiment`` may also be ``unset``."""

EXPLICIT: Final = "explicit"
IMPLICIT: Final = "implicit"
CORRECTION: Final = "correction"
KINDS: Final = (EXPLICIT, IMPLICIT, CORRECTION)
"""Values of ``feedback.kind``."""

HUMAN: Final = "HUMAN"
CODE: Final = "CODE"
"""Values of the annotator kind: a person's word, a signal that software derived from what a person did."""

EVALUATOR: Final = "EVALUATOR"
"""Value of ``openinference.span.kind`` on a carrier."""

SOURCE_CAPTURE: Final = "capture"
SOURCE_RECORD: Final = "record"
SOURCE_DERIVED: Final = "derived"
"""Values of ``feedback.source``."""

UNKNOWN: Final = "unknown"
"""Value of a fact on a carrier that was not known when its handle left."""

VARIES: Final = "varies"
"""Version of a prompt that nobody declared and whose text differs from call to call;
name of one for which there is only a path, after the first 100 paths."""

# --- Content ------------------------------------------------------------------------------------------------------

CONTENT_ATTRIBUTES: Final = (
    r"gen_ai\.(system_instructions|input\.messages|output\.messages|prompt|completion|tool\.definitions)",
    r"gen_ai\.(prompt|completion)\.[0-9]+\..*",
    r"gen_ai\.prompt\.variable\..*",
    r"gen_ai\.(tool\.call\.(arguments|result)|retrieval\.query\.text|evaluation\.explanation)",
    r"gen_ai\.event\.content",
    r"(input|output)\.(value|mime_type|(images|audio)(\..*)?)",
    r"llm\.(input_messages|output_messages|prompts|choices|completions)(\..*)?",
    r"llm\.(prompt_template\.(template|variables)|invocation_parameters|function_call|(tools|request\.functions)\..*)",
    r"(retrieval|input|output|reranker\.(input|output)_documents)(\.[^.]*)*\.document\.(content|metadata)",
    r"reranker\.query",
    r"embedding\.embeddings\..*\.embedding\.(text|vector)",
    r"(tool|tool_call)\.(parameters|function\.arguments)",
    r"(traceloop\.entity|gen_ai\.task)\.(input|output)",
    r"traceloop\.prompt\.(template|template_variables(\..*)?)",
    r"mcp\.(request\.argument|response\.value)",
    r"db\.query\.(result\.(document|metadata|vector)|embeddings\.vector)",
    r"db\.(search\.(result\.entity|embeddings\.vector)|marqo\.search\.query|chroma\.[a-z]+\.where_document)",
    r"((trace|session)\.)?(annotations|evaluations)\.[0-9]+\.(annotation|evaluation)\.explanation",
    r"feedback\.correction\.(original|corrected)",
)
"""Regular expressions, each for whole names: attributes of spans and span events, in the dialects of OpenTelemetry,
OpenLLMetry and OpenInference, that hold what people wrote or read. The Collector drops them unless it is told to
keep them; ``feedback.documents`` and ``gen_ai.retrieval.documents`` lose only the texts in them."""

CONTENT_EVENTS: Final = (
    r"gen_ai\.(system|user|assistant|tool|content)\.(message|prompt|completion)",
    r"gen_ai\.(choice|client\.inference\.operation\.details)",
)
"""Regular expressions, each for whole names: span events that hold nothing but content."""

# --- Metrics: counters that the Collector derives from spans, gauges of an outbox ---------------------------------

METRIC_VOTES_BY_TEMPLATE: Final = "feedback.template.calls"
"""Counter of carriers by template, version, service and transition."""

METRIC_VOTES_BY_MODEL: Final = "feedback.model.calls"
"""Counter of carriers by model, query type, service and transition."""

METRIC_INTERACTIONS_BY_TEMPLATE: Final = "feedback.interaction.template.calls"
"""Counter of sampled interaction spans by template, version and service."""

METRIC_INTERACTIONS_BY_MODEL: Final = "feedback.interaction.model.calls"
"""Counter of sampled interaction spans by model, query type and service."""

METRIC_OUTBOX_DEPTH: Final = "otel_feedback.outbox.depth"
"""Gauge, {feedback}. Feedback that waits in an outbox to be delivered."""

METRIC_OUTBOX_AGE: Final = "otel_feedback.outbox.age"
"""Gauge, s. For how long the oldest of it has waited; 0 where none waits."""

METRIC_OUTBOX_SET_ASIDE: Final = "otel_feedback.outbox.set_aside"
"""Gauge, {feedback}. Feedback that its receiver rejected, and that is kept."""

OUTBOX_METRICS: Final = (METRIC_OUTBOX_DEPTH, METRIC_OUTBOX_AGE, METRIC_OUTBOX_SET_ASIDE)
"""What a process says of its outbox: the only metrics of services that the Collector passes on."""

OUTBOX_PROCESS: Final = "otel_feedback.outbox.process"
"""string. Random id of the process that says it: several of one name don't overwrite each other's numbers."""

SERVICE_DIMENSIONS: Final = (FEEDBACK_SERVICE_NAME, FEEDBACK_SERVICE_NAMESPACE, FEEDBACK_ENVIRONMENT)
"""Labels of every counter."""

TEMPLATE_DIMENSIONS: Final = (FEEDBACK_PROMPT_NAME, FEEDBACK_PROMPT_VERSION)
"""Labels of the counters by template."""

MODEL_DIMENSIONS: Final = (FEEDBACK_MODEL, FEEDBACK_QUERY_TYPE)
"""Labels of the counters by model."""

TRANSITION_DIMENSIONS: Final = (
    FEEDBACK_KIND,
    FEEDBACK_SIGNAL,
    FEEDBACK_SENTIMENT,
    FEEDBACK_PREVIOUS_SENTIMENT,
    FEEDBACK_FIRST,
    FEEDBACK_TARGET_SAMPLED,
)
"""Labels of the counters of carriers."""
