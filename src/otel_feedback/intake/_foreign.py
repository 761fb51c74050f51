"""Names that other producers write and only the intake reads: their feedback, their questions and answers.

``docs/foreign-feedback.md`` shows the rules as a table.
"""

from typing import Final

from otel_feedback import semconv

ANNOTATION: Final = ("annotations.", ".annotation.")
EVALUATION: Final = ("evaluations.", ".evaluation.")
"""OpenInference's two forms of the same: prefix, index, infix, field."""

ANNOTATOR_KINDS: Final = (
    "gen_ai.evaluation.evaluator.type",
    "microsoft.gen_ai.evaluation.actor.type",
    "gen_ai.evaluation.annotator_kind",
    "annotation.annotator_kind",
    "evaluation.annotator_kind",
    "annotator_kind",
)
"""Where an event ``gen_ai.evaluation.result`` may say who judged: the first is proposed for the GenAI conventions, the
second is Microsoft Foundry's; for want of them gateways keep OpenInference's."""

JUDGES: Final = {
    "human": semconv.HUMAN,
    "end_user": semconv.HUMAN,
    "code": semconv.CODE,
    "deterministic": semconv.CODE,
}
"""Who judges, by what such an event calls it; all others are evaluators."""

IDENTIFIERS: Final = (
    "gen_ai.evaluation.identifier",
    "annotation.identifier",
    "evaluation.identifier",
    "identifier",
)
"""Where such an event may say whose judgement it is."""

# What Logfire writes where ``record_feedback`` is called.
LOGFIRE_SPAN_TYPE: Final = "logfire.span_type"
LOGFIRE_ANNOTATION: Final = "annotation"
LOGFIRE_PENDING: Final = "pending_span"
"""A copy of a span that is still open, under another id: nothing but a preview."""
LOGFIRE_NAME: Final = "feedback.name"
LOGFIRE_SCORE: Final = "feedback.score"
LOGFIRE_LABEL: Final = "feedback.label"
LOGFIRE_ASSERTION: Final = "feedback.assertion"
LOGFIRE_COMMENT: Final = "feedback.comment"

DOCUMENT_PREFIX: Final = "retrieval.documents."

JUDGING_NAMES: Final = frozenset((semconv.FEEDBACK_SIGNAL, LOGFIRE_SPAN_TYPE))
JUDGING_PREFIXES: Final = (ANNOTATION[0], EVALUATION[0])
"""Beginnings of attributes' names without which a span judges nothing, but by an event."""

FOREIGN_NAMES: Final = frozenset(
    (LOGFIRE_SPAN_TYPE, LOGFIRE_NAME, LOGFIRE_SCORE, LOGFIRE_LABEL, LOGFIRE_ASSERTION, LOGFIRE_COMMENT)
)
FOREIGN_PREFIXES: Final = (ANNOTATION[0], EVALUATION[0], DOCUMENT_PREFIX)
FOREIGN_CONTENT: Final = (r"feedback\.comment",)
"""Content beside ``semconv.CONTENT_ATTRIBUTES``."""

QUESTION_VARIABLES: Final = ("question", "query", "input")
"""What a template calls the place for what was asked, the likeliest first."""
TEMPLATE_VARIABLES: Final = ("llm.prompt_template.variables", "traceloop.prompt.template_variables")
"""Attributes with all variables that a template was rendered with, as JSON: OpenInference's, and OpenLLMetry's."""
TEMPLATE_VARIABLE_PREFIXES: Final = (semconv.GEN_AI_PROMPT_VARIABLE, "traceloop.prompt.template_variables.")
"""Beginnings of attributes with one of them: GenAI's and ours, and OpenLLMetry's."""
QUESTION_ATTRIBUTES: Final = tuple(
    f"{prefix}{name}" for prefix in TEMPLATE_VARIABLE_PREFIXES for name in QUESTION_VARIABLES
)
ASKING_NAMES: Final = frozenset((*QUESTION_ATTRIBUTES, *TEMPLATE_VARIABLES))
"""Attributes that may say what was asked apart from the prompt that was made of it."""

TEXT_NAMES: Final = frozenset(
    (
        *ASKING_NAMES,
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.prompt",
        "gen_ai.completion",
        "gen_ai.task.input",
        "gen_ai.task.output",
        "traceloop.entity.input",
        "traceloop.entity.output",
        "input.value",
        "output.value",
        "llm.prompts",
    )
)
TEXT_PREFIXES: Final = (
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts.",
    "llm.choices.",
)

EVENT_OPERATION_DETAILS: Final = "gen_ai.client.inference.operation.details"
EVENT_CHOICE: Final = "gen_ai.choice"
EVENT_PROMPT: Final = "gen_ai.content.prompt"
EVENT_COMPLETION: Final = "gen_ai.content.completion"
MESSAGE_EVENTS: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
"""One event a message, as the GenAI conventions had it before 1.37."""

EVENT_CONTENT: Final = "gen_ai.event.content"
"""Attribute that held such an event's body as JSON, for span events."""
