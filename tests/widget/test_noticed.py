"""What is noticed without asking: copies, edits, acceptance, a new try. None of it carries content."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from tests.widget.site import ANSWER
from tests.widget.test_votes import said

DRAFT = """<p id="answer">{answer}</p><p id="other">Other words of the page.</p>
<form onsubmit="return false"><textarea id="draft">{answer}</textarea><button id="use">Use</button></form>
<feedback-buttons {attributes} for="answer" edited-for="draft"></feedback-buttons>"""

SELECT = """
const [from, start, to, end] = arguments;
const range = document.createRange();
range.setStart(document.getElementById(from).firstChild, start);
range.setEnd(document.getElementById(to).firstChild, end);
getSelection().removeAllRanges();
getSelection().addRange(range);
"""


def copy(page, *selection):
    """Select something and press Ctrl+C."""
    page.run(SELECT, *selection)
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("c").key_up(Keys.CONTROL).perform()


def noticed(page, n):
    """The signals and values of that many."""
    return [tuple(said(body).values()) for body in page.received(n)]


def test_a_copy_says_how_much_and_not_what(page):
    """The share of the answer's letters that was copied; a larger one later counts, a smaller one says nothing."""
    page.open(DRAFT)
    copy(page, "answer", 0, "answer", 7)
    copy(page, "answer", 0, "answer", 3)
    copy(page, "answer", 0, "answer", len(ANSWER))
    assert noticed(page, 2) == [("copy", 0.16), ("copy", 1)]
    assert all(set(body) == {"handle", "signal", "value", "id", "nonce"} for body in page.site.bodies)
    assert "Install" not in str(page.site.bodies)


def test_only_the_answer_s_part_of_a_copy_counts(page):
    """What is selected beyond the answer isn't counted, and what is outside of it isn't noticed."""
    page.open(DRAFT)
    copy(page, "other", 0, "other", 5)
    copy(page, "answer", len(ANSWER) - 8, "other", 11)
    assert noticed(page, 1) == [("copy", 0.18)]


def test_the_edit_before_use_is_measured_at_use(page):
    """Nothing while it is edited; the distance when the form is sent; none is 0."""
    page.open(DRAFT)
    page.part("status")
    draft = page.driver.find_element("id", "draft")
    draft.send_keys(" Enjoy it!")
    assert page.site.bodies == []
    page.driver.find_element("id", "use").click()
    assert noticed(page, 1) == [("edit", 0.16)]
    page.open(DRAFT)
    page.driver.find_element("id", "use").click()
    assert noticed(page, 2)[1] == ("edit", 0)


def test_a_site_says_itself_how_the_answer_was_used(page):
    """`used(text)` is compared with the answer, `copied()` is a copy button's, and the rest says what it is called."""
    page.open()
    shorter = ANSWER[:27]
    page.run(f"w.used('{shorter}'); w.copied(0.5); w.accept(); w.accept(); w.regenerate()")
    assert noticed(page, 4) == [("edit", 0.52), ("copy", 0.5), ("accept", True), ("regenerate", True)]
    assert page.run("return [w.copied(0), (w.removeAttribute('for'), w.used('x'))]") == [False, False]


def test_an_editable_element_is_compared_with_what_stood_there(page):
    """What the site shows formatted and lets be edited raw is measured against the raw text, as first touched."""
    raw = '<p id="answer"><b>Bold</b> words</p><div id="draft" contenteditable></div>'
    page.open(raw + '<feedback-buttons {attributes} for="answer" edited-for="draft"></feedback-buttons>')
    page.run("document.getElementById('draft').textContent = '**Bold** words'")
    page.driver.find_element("id", "draft").send_keys("x")
    page.run("w.used()")
    assert noticed(page, 1) == [("edit", 0.07)]


OFF = {
    "attribute": ("no-implicit", ""),
    "GPC": ("", "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"),
    "DNT": ("", "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})"),
}


@pytest.mark.parametrize("by", OFF)
def test_nothing_is_noticed_where_it_is_off(page, browser, by):
    """One attribute, Global Privacy Control or Do Not Track: no copy, no edit, no abandon; a vote still counts."""
    attribute, source = OFF[by]
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    page.open(DRAFT, attributes=f"{attribute} streaming")
    assert page.run("return [w.accept(), w.regenerate(), w.abandon(), w.copied(), w.used('x')]") == [False] * 5
    copy(page, "answer", 0, "answer", 9)
    page.driver.find_element("id", "use").click()
    page.run("window.dispatchEvent(new Event('pagehide'))")
    page.click("vup")
    assert noticed(page, 1) == [("thumbs", "up")]
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_two_widgets_of_one_answer_notice_a_copy_once(page):
    """They share what is known of the answer."""
    both = '<feedback-buttons {attributes} for="answer"></feedback-buttons>' * 2
    page.open('<p id="answer">{answer}</p><p id="other">x</p>' + both)
    copy(page, "answer", 0, "answer", 7)
    page.click("vup")
    assert noticed(page, 2) == [("copy", 0.16), ("thumbs", "up")]
