"""What pip is to be told for otel-feedback: the place that this one was installed from, else its name."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final
from urllib.parse import unquote, urlsplit

_NAME: Final = "otel-feedback"


def requirement(extras: str) -> str:
    """Return a requirement for pip, not quoted for a shell.

    The bare name would have pip install whatever is registered under it; what was installed from a path or a
    repository (PEP 610) is to be had from there again.

    Args:
        extras: With commas between, such as ``otlp,capture``.
    """
    named = f"{_NAME}[{extras}]"
    try:
        origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
        url, vcs = str(origin.get("url", "")), origin.get("vcs_info")
        if isinstance(vcs, dict):
            return f"{named} @ {vcs['vcs']}+{url}@{vcs['commit_id']}"
        parts = urlsplit(url)
    except (PackageNotFoundError, OSError, ValueError, KeyError, AttributeError):
        return named
    if parts.scheme == "file" and parts.path:
        return f"{unquote(parts.path)}[{extras}]"
    return f"{named} @ {url}" if parts.scheme == "https" else named
