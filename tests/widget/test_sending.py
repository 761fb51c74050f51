"""Nothing that was given is lost: offline, behind trouble, when the page goes, without storage; it is bounded."""

import json
import time

import pytest
from tests.widget.test_votes import said, sentiments


@pytest.fixture
def network(browser):
    """A function that takes the network away from the page and gives it back."""

    def make(*, online):
        browser.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": not online, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    yield make
    make(online=True)


def test_what_is_given_offline_is_sent_when_the_network_is_back(page, network, site):
    """The reader is told that it comes later, and then that it came; nobody has to do anything."""
    page.open()
    network(online=False)
    page.click("vdown")
    page.until(lambda: page.status() == "Will be sent later")
    assert page.pressed() == ["vdown"]
    assert [entry["body"]["value"] for entry in page.stored()] == ["down"]
    network(online=True)
    page.received(1)
    page.until(lambda: page.status() == "Thank you" and page.stored() == [])
    assert sentiments(site) == ["negative"]


def test_what_an_earlier_page_left_is_sent_by_the_next(page, browser, site):
    """Capture was away and the tab was closed: any later page with the widget sends it, with the same id."""
    page.open()
    site.trouble = (503, {})
    page.click("vup")
    page.until(lambda: page.status() == "Will be sent later")
    (kept,) = page.stored()
    site.trouble = None
    browser.get("about:blank")
    site.bodies.clear()
    page.open()
    assert page.received(1) == [kept["body"]]
    page.until(lambda: page.stored() == [])


def test_what_was_taken_over_twice_is_one_vote(page, browser, site):
    """The answer to a request was lost, and a second tab sends the same one: its id makes both one."""
    page.open()
    page.click("vup")
    (body,) = page.received(1)
    page.until(lambda: page.stored() == [])
    entry = json.dumps({"url": f"{site.capture}/v1/feedback", "body": body})
    page.run(f"localStorage['otel-feedback:q:' + (Date.now() - 9e4).toString(36) + ':x'] = {json.dumps(entry)}")
    page.open()
    page.until(lambda: len(site.bodies) > 1 and page.stored() == [])
    assert len(site.carriers) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_is_waited_out(page, site, status):
    """A failure that may pass is tried again by itself, with the same id."""
    page.open()
    site.trouble = (status, {})
    page.click("vup")
    page.until(lambda: page.status() == "Will be sent later")
    site.trouble = None
    page.received(1)
    assert len({body["id"] for body in site.bodies}) == 1
    page.until(lambda: page.status() == "Thank you")


def test_retry_after_is_heeded(page, browser, site):
    """Until then nothing is sent: not by a click, not by the next page."""
    page.open()
    site.trouble = (429, {"retry-after": "2"})
    began = time.monotonic()
    page.click("vup")
    page.until(lambda: len(site.bodies) == 1 and page.status() == "Will be sent later")
    site.trouble = None
    page.click("vdown")
    assert page.status() == "Will be sent later"
    browser.refresh()
    page.received(1)
    assert time.monotonic() - began >= 2
    assert [said(body)["value"] for body in site.bodies] == ["up", "down"]


def test_the_newer_state_of_an_unsent_vote_replaces_the_older(page, network, site):
    """What was never sent needs no history; a comment is never lost by it."""
    page.open()
    network(online=False)
    page.run("window.told = []; w.addEventListener('feedback', ({detail}) => told.push(detail.outcome))")
    page.click("vup")
    page.until(lambda: page.status() == "Will be sent later")
    page.click("vdown")
    assert [entry["body"]["value"] for entry in page.stored()] == ["down"]
    assert "replaced" in page.run("return told")
    page.click("link")
    page.part("text").send_keys("Old.")
    page.click("send")
    assert [entry["body"].get("comment") for entry in page.stored()] == ["Old."]
    page.click("vup")
    assert [entry["body"]["value"] for entry in page.stored()] == ["down", "up"]
    network(online=True)
    page.until(lambda: page.stored() == [])
    assert sentiments(site) == ["negative", "positive"]


def test_changes_of_a_vote_arrive_in_their_order(page, site):
    """However slow capture is, the last click is what stands there."""
    page.open()
    site.delay = 0.2
    for value in ("vup", "vdown", "vup", "vdown"):
        page.run(f"part('{value}').click()")
    page.until(lambda: page.stored() == [])
    assert sentiments(site) == ["positive", "negative"]


def test_a_vote_leaves_with_the_page(page, browser, site):
    """The tab is closed with the click: the request, for which leave had to be asked first, arrives all the same."""
    before = browser.current_window_handle
    browser.switch_to.new_window("tab")
    page.open(attributes=f'endpoint="{site.capture}/v1/feedback?new"')
    site.delay = 0.5
    page.run("part('vup').click()")
    browser.close()
    browser.switch_to.window(before)
    page.received(1)
    assert sentiments(site) == ["positive"]


def test_a_closed_tab_s_last_change_is_not_overtaken(page, browser, site):
    """A change behind a request that is under way waits for the next page, since two of one vote could cross."""
    page.open()
    site.delay = 0.4
    page.run("part('vup').click(); part('vdown').click(); location.href = 'about:blank'")
    page.received(1)
    site.delay = 0
    page.open()
    page.until(lambda: page.stored() == [])
    assert sentiments(site)[-1] == "negative"


def test_an_answer_left_while_it_streams_was_abandoned(page, browser, site):
    """The page goes while `streaming` is set; once it is gone, leaving says nothing."""
    page.open(attributes="streaming")
    page.run("location.href = 'about:blank'")
    assert said(page.received(1)[0]) == {"signal": "abandon", "value": True}
    site.reset()
    page.open(attributes="streaming")
    page.run("w.removeAttribute('streaming'); location.href = 'about:blank'")
    page.until(lambda: browser.current_url == "about:blank")
    page.open()
    time.sleep(0.2)
    assert site.carriers == []  # the first one may come again, by its id


def test_what_waits_is_bounded(page, network, site):
    """50 wait at most; what nobody said goes first. What is older than a week is not sent, nor what isn't ours."""
    page.open()
    network(online=False)
    page.click("vup")
    page.run("for (let n = 0; n < 60; n++) { w.handle = 'x'.repeat(32) + n; w.accept(); }")
    assert len(page.stored()) == 50
    assert page.stored()[0]["body"]["value"] == "up"
    page.run(
        "const [key] = Object.keys(localStorage).filter((key) => key.includes(':q:'));"
        "localStorage['otel-feedback:q:' + (Date.now() - 8 * 864e5).toString(36) + ':old'] = localStorage[key];"
        "localStorage['otel-feedback:q:0:broken'] = '{';"
        "window.dispatchEvent(new Event('online'))"
    )
    assert len(page.stored()) == 50


def test_nonces_are_bounded_and_none_is_the_browser_s(page):
    """One for each answer, the oldest forgotten."""
    page.open(attributes='endpoint="/nowhere"')
    page.run("for (let n = 0; n < 310; n++) { w.handle = 'x'.repeat(32) + n; w.accept(); }")
    known = page.stored("a")
    assert len(known) == 300
    assert len({record["n"] for record in known}) == 300


def test_it_works_without_storage(page, browser, site):
    """Where a page may keep nothing, memory keeps it for as long as the page is there."""
    blocked = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('', 'SecurityError') }})"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": blocked})
    try:
        page.open()
        site.trouble = (503, {})
        page.click("vup")
        page.until(lambda: page.status() == "Will be sent later")
        site.trouble = None
        page.received(1)
        page.click("vdown")
        bodies = page.received(2)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert len({body["nonce"] for body in bodies}) == 1
    assert sentiments(site) == ["positive", "negative"]
