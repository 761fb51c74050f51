"""What schemathesis makes of the OpenAPI description: requests that fit it and requests that don't, and its checks."""

from collections import Counter
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, Config, GenerationMode
from starlette.applications import Starlette

from otel_feedback import _guard
from otel_feedback.capture.description import PATH
from soak.inside import application

_REJECTED: Final = {"negative_data_rejection": {"expected-statuses": ["400", "401", "405", "409", "413", "415", "422"]}}
"""What may come of a request that doesn't fit; schemathesis doesn't know that a text may be too long for a body."""


def run(examples: int, app: Starlette | None = None) -> str:
    """Send requests by the description to the application, half of which should be refused.

    Args:
        examples: How many of each kind.
        app: The application.

    Returns:
        The statuses that came, counted.

    Raises:
        BaseException: One of schemathesis' checks found something; several are raised as a group.
    """
    described = schemathesis.openapi.from_asgi(
        PATH, app or application(), config=Config.from_dict({"checks": _REJECTED})
    )
    statuses: Counter[int] = Counter()
    with _guard.strict():
        modes: Any = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for mode in modes:
            strategy = described["/v1/feedback"]["POST"].as_strategy(generation_mode=mode)

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def check(case: Case[Any]) -> None:
                statuses[case.call_and_validate().status_code] += 1

            check()
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
