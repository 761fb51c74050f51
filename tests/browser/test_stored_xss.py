"""Whatever strangers write stays text, in every field, on every page, in a real browser."""

import re
import unicodedata
from urllib.parse import quote

import pytest
from tests.browser.conftest import look
from tests.browser.stored_xss import TEXTS
from tests.unit.web_parts import FACTS, NOW, id_of

from otel_feedback import semconv

LABELS = (
    semconv.FEEDBACK_PROMPT_NAME,
    semconv.FEEDBACK_PROMPT_VERSION,
    semconv.FEEDBACK_MODEL,
    semconv.FEEDBACK_QUERY_TYPE,
    semconv.FEEDBACK_SERVICE_NAME,
    semconv.FEEDBACK_SERVICE_NAMESPACE,
    semconv.FEEDBACK_ENVIRONMENT,
)
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
TOUCH_ALL = """
document.querySelectorAll('main *').forEach((each) => {
  for (const kind of ['mouseover', 'focus', 'mouseenter']) each.dispatchEvent(new Event(kind));
});
"""
STATE = "return [window.hit, document.cookie, location.href, document.querySelectorAll('script').length]"


@pytest.fixture(scope="module")
def planted(sender):
    """The ids of one answer for each text, which is in every field that a stranger can fill."""
    ids = []
    for text in TEXTS:
        facts = {**FACTS, **dict.fromkeys(LABELS, text), semconv.GEN_AI_RESPONSE_ID: text}
        of, spans = sender.spans(
            text,
            text,
            at=NOW,
            facts=facts,
            system=text,
            name=text,
            retrieval=text,
            documents=[(text, 0.5)],
            attributes={
                text: text,
                "list": [text],
                semconv.GEN_AI_CONVERSATION_ID: text,
                semconv.USER_HASH: text,
                semconv.ERROR_TYPE: text,
                semconv.GEN_AI_PROMPT_VARIABLE + text: text,
            },
            events=[(text, {text: text})],
        )
        said = {"facts": facts, "user": text, "reasons": [text], "comment": text}
        spans += [
            sender.carrier(of, text, text, "negative", id=text[:128], previous=text, **said),
            sender.carrier(of, "text", text, "negative", kind="correction", correction=(text, f"{text}!"), **said),
            sender.carrier(of, "copy", text, text, kind="implicit", **said),
        ]
        sender.send(*spans, scope=text)
        ids.append(of)
    return dict(zip(TEXTS, ids, strict=True))


def read(browser, site, path):
    """Open a page, all of it, touch everything and return its text; fail where anything ran."""
    browser.get(site.url + path)
    browser.execute_script(OPEN_ALL)
    browser.execute_script(TOUCH_ALL)
    hit, cookie, address, scripts = browser.execute_script(STATE)
    assert (hit, cookie, address, scripts) == (None, "", site.url + path, 1)
    assert look(browser, site) == []
    return browser.execute_script("return document.body.textContent")


def pattern_of(text):
    """What must be read of a text: all of it but blanks; what can't be seen by its number, or gone since the intake."""
    parts = []
    for each in text:
        if unicodedata.category(each) in ("Cc", "Cf") and each not in "\t\n\r":
            parts.append(f"(U\\+{ord(each):04X}|U\\+FFFD|\ufffd)?")
        elif not each.isspace():
            parts.append(re.escape(each))
    return "".join(parts)


def test_a_careless_page_would_be_hit(browser, tmp_path):
    """The texts do run where a page shows them as they are: so it is seen when one does."""
    missed = []
    for text in ("<script>window.hit=1</script>", "<img src=x onerror=window.hit=1>", "<svg onload=window.hit=1>"):
        assert text in TEXTS
        (tmp_path / "careless.html").write_text(f"<!DOCTYPE html><p>{text}")
        browser.get((tmp_path / "careless.html").as_uri())
        hit = browser.execute_async_script("setTimeout(() => arguments[0](window.hit), 200)")
        missed += [] if hit else [text]
    assert missed == []
    browser.get_log("browser")


def test_lists_show_it_as_text(browser, site, planted):
    """The lists of answers and groups, with each text in filters and headings too."""
    assert len(planted) > 60
    for by in ("template,version", "model", "query_type", "service", "environment"):
        text = read(browser, site, f"/?by={by}")
        assert "window.hit=1" in text
    path, pages = "/answers?feedback=all", 0
    while path and pages < 10:
        text = read(browser, site, path)
        assert "window.hit=1" in text or pages
        links = browser.find_elements("css selector", "a[rel=next]")
        path = links[0].get_attribute("href").removeprefix(site.url) if links else None
        pages += 1
    assert pages > 3
    read(browser, site, "/setup")


@pytest.mark.parametrize("number", range(len(TEXTS)), ids=lambda number: f"text-{number}")
def test_one_answer_shows_it_as_text(browser, site, planted, number):
    """Every field of one answer: nothing runs, and what was written is there to be read."""
    written = TEXTS[number]
    shown = read(browser, site, f"/answers/{id_of(planted[written])}")
    assert re.search(pattern_of(written), "".join(shown.split()))


def test_it_is_text_in_the_address_too(browser, site):
    """What is in a link that somebody sends is shown as text, and nothing else."""
    for text in (TEXTS[0], TEXTS[5], TEXTS[7], TEXTS[61]):
        value = quote(text, safe="")
        for path in (
            f"/?template={value}",
            f"/answers?search={value}&reason={value}&signal={value}",
            f"/?since={value}",
        ):
            read(browser, site, path)
        browser.get(f"{site.url}/login?next={value}")
        assert browser.execute_script("return window.hit") is None
        assert look(browser, site) == []
