"""The example's chat page as its service serves it: what it may load, and what it tells of a question."""

import json
import re

import httpx
import pytest
from examples.rag_service import app as service
from examples.rag_service.page import FILES, add_page
from examples.rag_service.prompts import ASK
from examples.servers import Addresses
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span

QUESTION = "Can a lambda expression\n contain statements?"


def client(feedback: str = "", dashboard: str = "") -> httpx.AsyncClient:
    app = FastAPI()
    add_page(app, feedback, dashboard)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


def allowed(policy: str, directive: str) -> list[str]:
    return next(each.split()[1:] for each in policy.split("; ") if each.split()[0] == directive)


async def test_the_page_loads_its_own_files_and_the_widget_of_its_capture() -> None:
    """The widget's address and origin are those of FEEDBACK_URL, with the path that capture is mounted at."""
    async with client("https://feedback.example:8443/take/", "https://show.example/?a=1&b=2") as page:
        got = await page.get("/")
    policy = got.headers["content-security-policy"]
    assert (
        allowed(policy, "script-src") == allowed(policy, "connect-src") == ["'self'", "https://feedback.example:8443"]
    )
    assert allowed(policy, "default-src") == ["'none'"]
    assert "unsafe" not in policy
    assert re.findall(r'src="([^"]+)"', got.text) == [
        "/page/chat.js",
        "https://feedback.example:8443/take/v1/widget.js",
    ]
    assert '<a href="https://show.example/?a=1&amp;b=2"' in got.text


async def test_without_an_address_the_page_asks_for_no_feedback() -> None:
    """The service runs bare as well: nothing is loaded from elsewhere, and nothing is linked to."""
    async with client() as page:
        got = await page.get("/")
    assert allowed(got.headers["content-security-policy"], "script-src") == ["'self'"]
    assert "widget" not in got.text
    assert "<a " not in got.text
    assert "$" not in got.text


@pytest.mark.parametrize(
    "wrong", ["127.0.0.1:8484", "javascript:alert(1)", "http://", "http://a;script-src *", "http://a b"]
)
@pytest.mark.parametrize("name", ["FEEDBACK_URL", "DASHBOARD_URL"])
def test_an_address_that_is_none_is_refused_at_the_start(name: str, wrong: str) -> None:
    """What would end up in a policy or a link is an address of the web, and the error says which setting is not."""
    with pytest.raises(ValueError, match=f"^{name} must be an address such as"):
        add_page(FastAPI(), *((wrong, "") if name == "FEEDBACK_URL" else ("", wrong)))


async def test_every_file_is_served_and_none_has_anything_inline(bare: Addresses) -> None:
    """What the page names is there, with its type; the policy would forbid scripts and styles within it."""
    async with httpx.AsyncClient(base_url=bare.service_url) as page:
        written = (await page.get("/")).text
        named = re.findall(r'(?:src|href)="(/page/[^"]+)"', written)
        types = [(await page.get(path)).headers["content-type"].partition(";")[0] for path in named]
    assert {path.rpartition("/")[2] for path in named} == {each.name for each in FILES.iterdir()} - {"index.html"}
    assert types == ["image/svg+xml", "text/css", "text/javascript"]
    assert not re.search(r"<style|<script(?![^>]*src)|\son\w+=|\sstyle=", written)


@pytest.mark.parametrize("ask", [service.ask, service.ask_stream])
async def test_the_request_says_its_conversation(bare: Addresses, monkeypatch: pytest.MonkeyPatch, ask: object) -> None:
    """In the name of the GenAI conventions, on the span that is there when the question comes."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{bare.provider_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    span = TracerProvider().get_tracer("test").start_span("POST /ask")
    path = next(route.path for route in service.app.routes if getattr(route, "endpoint", None) is ask)  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(app=service.app)
    async with (
        service.app.router.lifespan_context(service.app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as page,
    ):
        with use_span(span):
            await page.post(path, json={"question": QUESTION, "conversation": "c-17"})
    assert json.loads(span.to_json())["attributes"] == {"gen_ai.conversation.id": "c-17"}  # type: ignore[attr-defined]


def test_the_question_is_a_message_of_its_own() -> None:
    """On one line, without the passages: so whoever follows the conversation compares what the user asked."""
    system, passages, question = service.build_messages(ASK[0], service.retrieve(QUESTION, 1), QUESTION)
    assert (system["role"], passages["role"], question["role"]) == ("system", "user", "user")
    assert question["content"] == "Can a lambda expression contain statements?"
    assert str(passages["content"]).startswith("Passages:\n\n[lambda")
