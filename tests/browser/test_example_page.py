"""The example's chat page in Chromium: a person asks and judges, and sees it on the satisfaction page of ``up``."""

import contextlib
import time

import pytest
from examples.servers import (
    RESOURCE,
    SERVICE_NAME,
    free_addresses,
    free_up_ports,
    make_provider,
    make_service,
    make_up,
    run_by,
)
from selenium.webdriver.common.by import By
from stack.client import get_json, wait_until

QUESTION = "Are dictionaries ordered by insertion?"
REPHRASED = "Do dictionaries preserve the insertion order of keys?"
TILES = "return [...document.querySelectorAll('.tiles div')].map((tile) => tile.innerText.split('\\n'))"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Addresses of the service and of ``otel-feedback up``; the service is started by ``otel-feedback run``."""
    folder = tmp_path_factory.mktemp("example")
    addresses, ports = free_addresses(), free_up_ports()
    page = {"FEEDBACK_URL": ports.url, "DASHBOARD_URL": f"{ports.url}/"}
    with contextlib.ExitStack() as running:
        for process in (
            make_up(folder, ports, data=folder / "data"),
            make_provider(folder, addresses, pause=0.3),
            make_service(folder, addresses, starter=run_by(ports), telemetry=RESOURCE, page=page),
        ):
            running.callback(process.stop)
            process.start()
        yield addresses.service_url, ports.url


class Chat:
    """The chat page, as a person sees it."""

    def __init__(self, driver, service, up):
        self.driver, self.service, self.up = driver, service, up

    def open(self):
        """Open it; nothing is remembered from before."""
        self.driver.get(self.service)
        self.driver.execute_script("localStorage.clear()")
        self.until("return !!customElements.get('feedback-buttons')")
        return self

    def until(self, script, *arguments):
        """Wait until a script returns something, and return it."""
        return wait_until(lambda: self.driver.execute_script(script, *arguments), script, timeout=20, every=0.02)

    def start(self, question):
        """Ask, and wait for the first words of the answer."""
        before = len(self.driver.find_elements(By.CLASS_NAME, "answer"))
        field = self.driver.find_element(By.ID, "question")
        field.send_keys(question + "\n")
        self.until("return document.querySelectorAll('.answer p:first-child')[arguments[0]]?.textContent", before)

    def finish(self):
        """Wait for the end of the last answer."""
        self.until("return [...document.querySelectorAll('.answer')].at(-1)?.ariaBusy === 'false'")

    def ask(self, question):
        """Ask, and read the whole answer."""
        self.start(question)
        self.finish()

    def press(self, label):
        """Click the last button that says so."""
        self.driver.find_elements(By.XPATH, f"//button[text()='{label}']")[-1].click()

    def part(self, name):
        """A part of the last answer's widget."""
        return self.until(
            "return [...document.querySelectorAll('feedback-buttons')].at(-1)?.shadowRoot"
            ".querySelector(`[part~=${arguments[0]}]:not([hidden])`)",
            name,
        )

    def said(self, signal, *, of=None):
        """Wait for that signal of an answer to stand; returns its feedback, with all that was said before."""

        def find():
            query = {"feedback": "all", "signal": signal, "service": SERVICE_NAME}
            rows = get_json(f"{self.up}/api/answers", query)["rows"]
            return [row for row in rows if of is None or row["question"] == of]

        (row,) = wait_until(find, signal, timeout=20)
        return get_json(f"{self.up}/api/answers/{row['id']}")


@pytest.fixture
def chat(browser, screen, places):
    """The page, opened; what it must not do is in the console."""
    browser.get_log("browser")
    chat = Chat(browser, *places).open()
    yield chat
    said = [line["message"] for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
    assert said == []  # a breach of the policy would be


def heard(answer, signal):
    """An answer of which page and service said the same, of which one stands; None before."""
    said = [each for each in answer["feedback"] if each["signal"] == signal]
    assert [each["standing"] for each in said].count(True) == 1
    return answer if {each["source"] for each in said} == {"capture", "derived"} else None


def tiles(driver):
    """The numbers on the satisfaction page."""
    return {name: value for name, value, *_ in driver.execute_script(TILES)}


def see(driver, **wanted):
    """Look at the page until it shows these numbers, without loading it again; returns the seconds that it took."""
    began = time.monotonic()
    names = {"positive": "Positive votes", "negative": "Negative votes"}
    wait_until(
        lambda: all(tiles(driver)[names[name]] == str(value) for name, value in wanted.items()), str(wanted), timeout=10
    )
    assert driver.execute_script("return window.untouched")
    return time.monotonic() - began


def test_a_person_votes_changes_it_comments_and_sees_it_at_once(chat, browser):
    """The satisfaction page was open before: it shows each step by itself, the answer's page comment and history."""
    mine = browser.current_window_handle
    browser.switch_to.new_window("tab")
    beside = browser.current_window_handle
    browser.get(chat.up)
    browser.execute_script("window.untouched = true")
    assert (tiles(browser)["Positive votes"], tiles(browser)["Negative votes"]) == ("0", "0")

    browser.switch_to.window(mine)
    browser.find_element(By.CSS_SELECTOR, "#suggestions button").click()
    chat.finish()
    asked = browser.find_element(By.CLASS_NAME, "question").text
    chat.part("vdown").click()
    browser.switch_to.window(beside)
    see(browser, positive=0, negative=1)

    browser.switch_to.window(mine)
    chat.part("vup").click()
    browser.switch_to.window(beside)
    see(browser, positive=1, negative=0)

    browser.switch_to.window(mine)
    chat.part("link").click()
    chat.part("text").send_keys("Just what I needed.")
    chat.part("send").click()
    wait_until(lambda: chat.said("thumbs", of=asked)["feedback"][-1]["comment"], "the comment", timeout=20)
    answer = chat.said("thumbs", of=asked)
    browser.switch_to.window(beside)
    browser.get(f"{chat.up}/answers/{answer['id']}")
    history = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".timeline > li")]
    browser.close()
    browser.switch_to.window(mine)
    assert [("thumbs: down" in item, "replaced" in item) for item in history] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert "Just what I needed." in history[-1]


def test_a_bad_vote_offers_its_reasons_and_is_among_the_bad_answers(chat, browser):
    """One click is the vote; the reason after it is the same vote."""
    question = "What does x and y return if x is false?"
    chat.ask(question)
    chat.part("vdown").click()
    chat.part("reason").click()
    wait_until(lambda: chat.said("thumbs", of=question)["feedback"][-1]["reasons"] == ["wrong"], "the reason")
    browser.get(f"{chat.up}/answers?feedback=bad")
    (card,) = [each.text for each in browser.find_elements(By.TAG_NAME, "article") if question in each.text]
    assert "thumbs: down" in card
    assert "wrong" in card


def test_what_is_done_with_answers_is_noticed(chat, browser):
    """A copy by the page; the same question again by page and service, as one; other words by the service alone."""
    browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardSanitizedWrite"]})
    chat.ask(QUESTION)
    chat.press("Copy")
    assert chat.said("copy", of=QUESTION)["feedback"][0]["score"] == 1
    chat.press("Regenerate")
    chat.until("return document.querySelectorAll('.answer').length === 2")
    chat.finish()
    first = wait_until(lambda: heard(chat.said("regenerate", of=QUESTION), "regenerate"), "both", timeout=20)
    chat.ask(REPHRASED)
    (found,) = [each for each in chat.said("rephrase", of=QUESTION)["feedback"] if each["signal"] == "rephrase"]
    assert found["source"] == "derived"
    assert 0.5 < found["confidence"] <= 1
    assert chat.said("rephrase", of=QUESTION)["id"] != first["id"]


def test_another_chat_is_another_conversation(chat, browser):
    """The same question in a new chat says nothing of the answer before."""
    question = "When are decorator expressions evaluated?"
    chat.ask(question)
    chat.press("New chat")
    assert browser.find_elements(By.CLASS_NAME, "answer") == []
    chat.ask(question)
    chat.press("Regenerate")  # of the second alone
    wait_until(lambda: heard(chat.said("regenerate", of=question), "regenerate"), "both", timeout=20)


def test_an_answer_that_is_stopped_is_abandoned(chat, browser):
    """Page and service both notice; it is one signal of one answer, whose buttons were not shown before."""
    question = "What does raise do?"
    chat.start(question)
    assert not chat.part("votes").is_displayed()
    chat.press("Stop")
    chat.until("return [...document.querySelectorAll('.note')].at(-1).textContent === 'Stopped.'")
    assert chat.part("votes").is_displayed()
    wait_until(lambda: heard(chat.said("abandon", of=question), "abandon"), "both", timeout=20)


def test_a_page_that_is_closed_while_it_streams_abandons_the_answer(chat, browser):
    """The request of the page that goes arrives, and the service sees the connection end."""
    question = "How often is the middle expression evaluated?"
    mine = browser.current_window_handle
    browser.switch_to.new_window("tab")
    chat.open().start(question)
    browser.close()
    browser.switch_to.window(mine)
    wait_until(lambda: heard(chat.said("abandon", of=question), "abandon"), "both", timeout=20)


def test_a_page_that_is_left_while_it_streams_abandons_the_answer(chat, browser):
    """A browser that may come back to the page reads on behind it, so that the page alone can tell."""
    question = "How are names that begin with two underscores transformed?"
    chat.start(question)
    browser.get(chat.up)
    (told,) = chat.said("abandon", of=question)["feedback"]
    assert told["source"] == "capture"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(chat, browser, screen, scheme):
    """Nothing is wider than 390 pixels, with details open and a long word; field and button are above the form."""
    screen(390, 520, scheme)
    chat.ask("What is " + "x" * 100 + "?")
    chat.part("vdown").click()
    chat.part("link").click()
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    bottom = browser.execute_script("return arguments[0].getBoundingClientRect().bottom", chat.part("send"))
    assert bottom <= browser.execute_script("return document.getElementById('ask').getBoundingClientRect().top")
