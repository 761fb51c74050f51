"""A vote's life in the browser, as it comes to the carrier."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from otel_feedback import semconv

REASONS = 'reasons="wrong,too_long" reasons-positive="clear"'


def said(body):
    """What a body says, without what makes it a request."""
    return {name: value for name, value in body.items() if name not in ("handle", "id", "nonce")}


def sentiments(site):
    """The sentiments of the carriers, in order."""
    return [carrier.attributes[semconv.FEEDBACK_SENTIMENT] for carrier in site.carriers]


def test_one_click_is_the_vote(page, site):
    """One click, and the answer has a carrier; the buttons say so at once."""
    page.open()
    assert page.status() == ""
    site.delay = 0.5
    page.click("vup")
    assert (page.status(), page.pressed(), site.carriers) == ("Thank you", ["vup"], [])
    (body,) = page.received(1)
    assert said(body) == {"signal": "thumbs", "value": "up"}
    assert body["handle"] == page.handle
    assert len(body["id"]) == len(body["nonce"]) == 32
    (carrier,) = site.carriers
    assert (carrier.name, sentiments(site)) == ("feedback thumbs", ["positive"])
    page.until(lambda: page.stored() == [])


def test_a_double_click_is_one_vote(page, browser, site):
    """The second click of a double click takes nothing back."""
    page.open()
    ActionChains(browser).double_click(page.part("vup")).perform()
    page.received(1)
    assert page.pressed() == ["vup"]
    page.until(lambda: page.stored() == [])
    assert sentiments(site) == ["positive"]


def test_a_vote_can_be_changed_and_taken_back(page, site):
    """Another button changes it; the chosen one again takes it back; each is a revision with an id of its own."""
    page.open()
    page.click("vup")
    page.received(1)
    page.click("vdown")
    page.received(2)
    assert page.pressed() == ["vdown"]
    page.run("part('vdown').click()")
    assert (page.status(), page.pressed()) == ("Taken back", [])
    bodies = page.received(3)
    assert [said(body)["value"] for body in bodies] == ["up", "down", None]
    assert sentiments(site) == ["positive", "negative", "retracted"]
    assert len({body["id"] for body in bodies}) == 3
    assert len({body["nonce"] for body in bodies}) == 1
    assert not page.part("link").is_displayed()


@pytest.mark.parametrize(
    ("signal", "part", "value", "pressed"),
    [("stars", "v4", 4, ["v4"]), ("helpful", "vno", "no", ["vno"]), ("unheard-of", "vup", "up", ["vup"])],
)
def test_other_signals_by_attribute(page, signal, part, value, pressed):
    """Stars and yes or no are votes as well; what isn't one of the three is thumbs."""
    page.open(attributes=f'signal="{signal}"')
    page.click(part)
    (body,) = page.received(1)
    assert body["value"] == value
    assert page.pressed() == pressed


def test_stars_up_to_the_chosen_one_are_filled(page):
    """Four stars look like four stars, and one button of them is pressed."""
    page.open(attributes='signal="stars"')
    page.click("v4")
    assert page.run("return [...part('votes').children].map((b) => b.part.contains('on'))") == [True] * 4 + [False]


def test_details_come_after_the_vote_and_are_the_same_vote(page, site):
    """Reasons and a comment appear once there is a vote, and repeat its value."""
    page.open(attributes=REASONS)
    assert not page.part("link").is_displayed()
    page.click("vdown")
    page.received(1)
    assert page.run("return [...part('reasons').children].map((b) => b.innerText)") == ["wrong", "too long"]
    page.click("reason")
    page.received(2)
    page.click("link")
    page.part("text").send_keys("It was  older.")
    page.click("send")
    bodies = page.received(3)
    down = {"signal": "thumbs", "value": "down"}
    assert [said(body) for body in bodies] == [
        down,
        down | {"reasons": ["wrong"]},
        down | {"reasons": ["wrong"], "comment": "It was  older."},
    ]
    assert [carrier.attributes[semconv.FEEDBACK_PREVIOUS_SENTIMENT] for carrier in site.carriers] == [
        "unset",
        "negative",
        "negative",
    ]
    assert not page.part("editor").is_displayed()


def test_reasons_are_those_of_the_vote(page):
    """A good answer is asked for other reasons than a bad one."""
    page.open(attributes=REASONS)
    page.click("vup")
    assert page.run("return [...part('reasons').children].map((b) => b.value)") == ["clear"]
    page.click("vdown")
    assert page.run("return [...part('reasons').children].map((b) => b.value)") == ["wrong", "too_long"]


def test_a_correction_is_offered_on_request(page, site):
    """The answer as it stands, edited, comes with what it was; without the attribute nobody is asked."""
    page.open()
    assert not page.run("return [...w.shadowRoot.querySelectorAll('[part~=link]')].some((b) => !b.hidden)")
    page.open(attributes="correct")
    page.run("[...w.shadowRoot.querySelectorAll('[part~=link]')].find((b) => !b.hidden).click()")
    page.part("text").send_keys(" Restart it.")
    page.click("send")
    (body,) = page.received(1)
    original = "Install the package, set a key and start your service."
    assert said(body) == {
        "signal": "text",
        "correction": {"original": original, "corrected": f"{original} Restart it."},
    }
    assert page.status() == "Thank you"


def test_by_keyboard_alone(page, browser):
    """Tab, space, and Escape out of the comment, whose opener has the focus again."""
    page.open()
    ActionChains(browser).send_keys(Keys.TAB, Keys.TAB, Keys.SPACE).perform()
    page.received(1)
    assert page.pressed() == ["vdown"]
    ActionChains(browser).send_keys(Keys.TAB, Keys.ENTER).perform()
    assert page.part("link").get_attribute("aria-expanded") == "true"
    ActionChains(browser).send_keys("No", Keys.TAB, Keys.ENTER).perform()
    assert said(page.received(2)[1])["comment"] == "No"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert page.part("text").get_attribute("value") == "No"
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not page.part("editor").is_displayed()
    assert page.run("return w.shadowRoot.activeElement === part('link')")


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "No longer possible"), (409, "Already rated"), (422, "Not accepted"), (413, "Not accepted")],
)
def test_a_refusal_is_said_and_undone(page, site, status, text):
    """What capture refuses is not shown as given, not kept and not tried again; what it took before stands."""
    page.open()
    page.click("vup")
    page.received(1)
    page.until(lambda: page.stored() == [])
    page.run("w.addEventListener('feedback', ({detail}) => { window.told = detail })")
    site.trouble = (status, {})
    page.click("vdown")
    page.until(lambda: page.status() == text)
    assert (page.pressed(), page.stored()) == (["vup"], [])
    assert page.run("return [told.outcome, told.status]") == ["refused", status]
    assert (
        page.run("return performance.getEntriesByType('resource').filter((e) => /feedback$/.test(e.name)).length") == 2
    )


def test_a_vote_can_t_be_flipped_from_another_browser(page, browser, site):
    """Whoever opens the same answer elsewhere is told that it was rated; the vote stands."""
    page.open()
    page.click("vup")
    page.received(1)
    page.until(lambda: page.stored() == [])
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    page.until(lambda: page.run("return !!w.shadowRoot"))
    assert page.pressed() == []
    page.click("vdown")
    page.until(lambda: page.status() == "Already rated")
    assert (page.pressed(), page.stored(), sentiments(site)) == ([], [], ["positive"])


def test_two_widgets_on_one_page_are_two_votes(page, site):
    """Each speaks for its own answer, with a nonce of its own."""
    other = site.handle()
    page.open(
        f'<feedback-buttons {{attributes}}></feedback-buttons><feedback-buttons handle="{other}"></feedback-buttons>'
    )
    page.click("vup", 0)
    page.click("vdown", 1)
    bodies = {body["handle"]: body for body in page.received(2)}
    assert (bodies[page.handle]["value"], bodies[other]["value"]) == ("up", "down")
    assert bodies[page.handle]["nonce"] != bodies[other]["nonce"]
    assert page.pressed() == ["vup"]


def test_a_vote_is_known_after_a_reload_and_in_other_tabs(page, browser, site):
    """The same answer shown again has its vote and its nonce; another tab follows at once."""
    page.open()
    address = browser.current_url
    page.click("vup")
    page.received(1)
    browser.refresh()
    page.until(lambda: page.run("return !!w.shadowRoot"))
    assert page.pressed() == ["vup"]
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(address)
    page.until(lambda: page.run("return !!w.shadowRoot"))
    page.click("vdown")
    bodies = page.received(2)
    assert bodies[0]["nonce"] == bodies[1]["nonce"]
    browser.close()
    browser.switch_to.window(first)
    page.until(lambda: page.pressed() == ["vdown"])


def test_the_event_tells_what_was_sent_and_no_secret(page):
    """It comes out of the widget with signal, value, reasons and outcome; no handle, no nonce, nobody's words."""
    page.open(attributes=REASONS)
    page.run("window.told = []; document.addEventListener('feedback', ({detail}) => told.push(detail))")
    page.click("vdown")
    page.click("reason")
    page.click("link")
    page.part("text").send_keys("words")
    page.click("send")
    page.until(lambda: page.run("return told.at(-1)?.outcome === 'sent' && told.length >= 2"))
    page.until(lambda: page.stored() == [])
    told = page.run("return told")
    assert set(told[-1]) == {"id", "signal", "value", "reasons", "outcome", "status"}
    assert told[-1] | {"id": ""} == {
        "id": "",
        "signal": "thumbs",
        "value": "down",
        "reasons": ["wrong"],
        "outcome": "sent",
        "status": 202,
    }
    assert "words" not in str(told)
    assert page.handle not in str(told)


def test_a_streamed_answer_can_be_corrected_once_it_is_there(page):
    """While nothing has arrived there is nothing to correct; when `streaming` goes, there is."""
    page.open('<p id="answer"></p><feedback-buttons for="answer" correct streaming {attributes}></feedback-buttons>')
    shown = "return [...w.shadowRoot.querySelectorAll('[part~=link]')].filter((b) => !b.hidden).map((b) => b.value)"
    assert page.run(shown) == []
    page.run("document.getElementById('answer').textContent = 'Done.'; w.removeAttribute('streaming')")
    assert page.run(shown) == ["correct"]


def test_a_comment_that_says_nothing_new_is_not_sent(page, site):
    """Opening the editor and sending it empty, or as it was, closes it."""
    page.open()
    page.click("vup")
    page.received(1)
    page.click("link")
    page.click("send")
    assert not page.part("editor").is_displayed()
    page.until(lambda: page.stored() == [])
    assert len(site.bodies) == 1
