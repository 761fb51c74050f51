"""The web pages of the embedded process, rendered here and served to browsers; needs ``[server]``."""

from otel_feedback.web.context import Context
from otel_feedback.web.pages import page_routes, render_error, render_login

__all__ = ["Context", "page_routes", "render_error", "render_login"]
