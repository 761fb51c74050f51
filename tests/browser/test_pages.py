"""The pages in Chromium: rendered, up to date, by keyboard, on a phone, in the dark, for screen readers."""

import time
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser.conftest import look, serve
from tests.unit.web_parts import FACTS, NOW, id_of

from otel_feedback import semconv

HERE = Path(__file__).parent
ANSWERS = 60

PROBLEMS = (HERE / "problems.js").read_text()

CONTRAST = (HERE / "contrast.js").read_text()


@pytest.fixture(scope="module")
def filled(sender):
    """The ids of answers of three templates, newest first; every other is judged, every third by words."""
    ids, spans = [], []
    for n in range(ANSWERS):
        facts = {**FACTS, semconv.FEEDBACK_PROMPT_NAME: f"template-{n % 3}"}
        of, made = sender.spans(
            f"Question {n}?", documents=[("guide/files", 0.8)], facts=facts, events=[("e", {"k": 1})]
        )
        spans += made
        vote = ("down", "negative") if n % 4 else ("up", "positive")
        spans.append(sender.carrier(of, "thumbs", *vote, facts=facts, reasons=["wrong"], comment="No."))
        if n % 3 == 0:
            correction = ("The old one.", "The new one.")
            spans.append(
                sender.carrier(of, "text", "x", "negative", kind="correction", facts=facts, correction=correction)
            )
        ids.append(of)
    sender.send(*spans)
    return ids


@pytest.fixture
def paths(filled):
    """The address of every page."""
    return ["/", "/answers", f"/answers/{id_of(filled[0])}", "/setup", "/login", "/?by=colour"]


def wait(browser, condition, seconds=10):
    """Wait until a condition is true; it gets the driver."""
    return WebDriverWait(browser, seconds, poll_frequency=0.02).until(condition)


def text_of(browser):
    """What is to be read on the page."""
    return browser.execute_script("return document.body.innerText")


def test_every_page_renders_and_asks_nobody_else(browser, site, screen, paths):
    """Styled by its own style, without a message in the console, without a request to elsewhere, charts drawn."""
    for path in paths:
        browser.get(site.url + path)
        assert browser.execute_script("return getComputedStyle(document.querySelector('.top')).display") == "flex"
        assert browser.execute_script("return [...document.images].every((each) => each.naturalWidth > 0)")
        assert look(browser, site) == [], path


def test_a_chart_by_itself_is_styled_by_its_own_policy(browser, site, filled):
    """Opened alone, a chart keeps to its policy: its style applies, and nothing is refused."""
    browser.get(f"{site.url}/chart/satisfaction.svg?since=7d")
    fill = "return getComputedStyle(document.querySelector('.axis text')).fontSize"
    assert browser.execute_script(fill) == "12px"
    assert [line["message"] for line in browser.get_log("browser") if "favicon" not in line["message"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_pages_fit_and_can_be_read(browser, site, screen, paths, width, scheme):  # noqa: PLR0917 - fixtures
    """No page scrolls sideways, texts stand out from what is behind them, and the dark one is dark."""
    screen(width=width, scheme=scheme)
    for path in paths:
        browser.get(site.url + path)
        browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path
        assert browser.execute_script(CONTRAST) == [], path
        red = browser.execute_script("return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
        assert (int(red) < 60) == (scheme == "dark")


def test_on_a_phone_nothing_is_out_of_sight_or_broken(browser, site, screen, filled, sender):
    """Groups stand with all their figures, titles have five lines at most, times stay in one line."""
    long = sender.answer("Answer from these.\n\n" + "passages " * 200 + "\n\nQuestion: " + "What is it? " * 8)
    sender.judge(long)
    screen(width=390)
    browser.get(site.url)
    beyond = "return [...document.querySelectorAll('.groups td')].map((each) => each.getBoundingClientRect().right)"
    assert max(browser.execute_script(beyond)) <= 390
    label = "return getComputedStyle(document.querySelector('.groups td'), '::before').content"
    assert browser.execute_script(label) == '"Version"'
    browser.get(f"{site.url}/answers")
    lines = """return [...document.querySelectorAll('.answers h2')].map(
        (one) => [one.clientHeight / parseFloat(getComputedStyle(one).lineHeight), one.scrollHeight - one.clientHeight]
    )"""
    drawn = browser.execute_script(lines)
    assert max(count for count, _ in drawn) < 5.5
    assert max(hidden for _, hidden in drawn) <= 1
    browser.get(f"{site.url}/answers/{id_of(long)}")
    style = "return getComputedStyle(document.querySelector('.span-time')).whiteSpace"
    assert browser.execute_script(style) == "nowrap"


def test_screen_readers_find_their_way(browser, site, screen, paths):
    """Names, alternatives, headings, landmarks, table heads and captions are all there."""
    for path in paths:
        browser.get(site.url + path)
        browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert browser.execute_script(PROBLEMS) == [], path
        assert (
            browser.execute_script("return document.getElementById('announce').getAttribute('aria-live')") == "polite"
        )


def test_a_vote_is_on_the_open_pages_at_once(browser, site, screen, filled, sender):
    """Without a reload: figures, lists and an answer's history; what the reader opened stays open, the focus stays."""
    of = filled[1]
    browser.get(f"{site.url}/answers/{id_of(of)}")
    wait(browser, lambda _: "Live" in text_of(browser))
    browser.execute_script("""
        window.stays = 1;
        document.querySelector('.waterfall details').open = true;
        document.querySelector('.waterfall summary').focus();
        document.querySelector('#trace').scrollIntoView();
    """)
    before = len(browser.find_elements(By.CSS_SELECTOR, ".timeline li"))
    sender.judge(of, "stars", "1", "negative", comment="Live from the user.")
    wait(browser, lambda _: "Live from the user." in text_of(browser))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".timeline li")) == before + 1
    state = "return [window.stays, document.querySelector('.waterfall details').open, document.activeElement.nodeName]"
    assert browser.execute_script(state) == [1, True, "SUMMARY"]
    said = "return document.getElementById('announce').textContent"
    wait(browser, lambda _: "1 new feedback" in browser.execute_script(said))


def test_figures_follow_votes(browser, site, screen, filled, sender):
    """The figures of Satisfaction and its charts change under the reader's eyes."""
    browser.get(f"{site.url}/")
    wait(browser, lambda _: "Live" in text_of(browser))
    tile = "return document.querySelectorAll('.tiles dd')[2].textContent"
    before, chart = int(browser.execute_script(tile)), "return document.images[0].src"
    drawn = browser.execute_script(chart)
    sender.judge(filled[2], "helpful", "no", "negative")
    wait(browser, lambda _: int(browser.execute_script(tile)) == before + 1)
    assert browser.execute_script(chart) != drawn


def test_a_new_bad_answer_comes_on_top(browser, site, screen, filled, sender):
    """The list grows at its head, and the nodes of those that stood there stay the same."""
    browser.get(f"{site.url}/answers")
    wait(browser, lambda _: "Live" in text_of(browser))
    browser.execute_script("window.first = document.querySelector('.answers li')")
    sender.judge(sender.answer("The newest question?", at=NOW), comment="Newest.")
    wait(browser, lambda _: "The newest question?" in text_of(browser))
    assert browser.execute_script("return window.first.isConnected")


def test_the_page_says_when_it_is_not_up_to_date(browser, screen, tmp_path):
    """Where the server ends, the sign says so."""
    with serve(tmp_path / "data") as site:
        browser.get(f"{site.url}/setup")
        wait(browser, lambda _: "Live" in text_of(browser))
    wait(browser, lambda _: "Not connected" in text_of(browser))
    browser.get("about:blank")
    browser.get_log("browser")


def test_filters_and_paging_work_by_keyboard(browser, site, screen, filled):
    """Tab, typing and Enter alone: skip link, search, the next page and back."""
    browser.get(f"{site.url}/answers?feedback=all")
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to content"
    press(browser, Keys.ENTER)
    tab_to(browser, "search")
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(browser, "Question 7?", Keys.ENTER)
    wait(browser, lambda _: "search=Question+7%3F" in browser.current_url)
    assert len(browser.find_elements(By.CSS_SELECTOR, ".answers li")) == 1
    browser.get(f"{site.url}/answers?feedback=all")
    seen = []
    for rel in ("next", "next", "prev", "prev"):
        seen.append(browser.find_element(By.CSS_SELECTOR, ".answers h2").text)
        link = browser.find_element(By.CSS_SELECTOR, f"a[rel={rel}]")
        address = link.get_attribute("href")
        browser.execute_script("arguments[0].focus()", link)
        press(browser, Keys.ENTER)
        wait(browser, lambda _, address=address: browser.current_url == address)
    seen.append(browser.find_element(By.CSS_SELECTOR, ".answers h2").text)
    assert seen == [seen[0], seen[1], seen[2], seen[1], seen[0]]
    assert len(set(seen)) == 3


def test_pages_work_without_scripts(chromium, site, filled):
    """Filters are a form and details open by themselves, so nothing needs a script."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location, path = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options=options, service=Service(path))
    try:
        driver.get(f"{site.url}/answers")
        driver.find_element(By.NAME, "search").send_keys("Question 7?", Keys.ENTER)
        deadline = time.monotonic() + 10
        while "search=" not in driver.current_url and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(driver.find_elements(By.CSS_SELECTOR, ".answers li")) == 1
        driver.find_element(By.CSS_SELECTOR, ".answers h2 a").click()
        driver.find_element(By.CSS_SELECTOR, ".waterfall summary").click()
        assert "feedback.interaction" in driver.find_element(By.CSS_SELECTOR, ".waterfall").text
        assert not driver.find_element(By.ID, "live").is_displayed()
    finally:
        driver.quit()


def press(browser, *keys):
    """Type into whatever has the focus."""
    browser.switch_to.active_element.send_keys(*keys)


def tab_to(browser, name):
    """Press Tab until a field has the focus."""
    for _ in range(60):
        press(browser, Keys.TAB)
        if browser.switch_to.active_element.get_attribute("name") == name:
            return
    pytest.fail(f"Tab doesn't reach {name}")
