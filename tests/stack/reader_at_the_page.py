"""A reader in Chromium at the page of the chat service: what hands and eyes do there."""

import urllib.parse
from collections.abc import Callable
from typing import TypeVar

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.keys import Keys
from stack.client import wait_until
from tests.stack.chat_services import KNOWN, Chats

T = TypeVar("T")

_SELECT = """
const words = document.getElementById("answer").firstChild, range = document.createRange();
range.setStart(words, 0);
range.setEnd(words, arguments[0]);
getSelection().removeAllRanges();
getSelection().addRange(range);
"""
_PART = "return document.querySelector('feedback-buttons').shadowRoot.querySelector(arguments[0])"


class Reader:
    """One reader; each answer is asked for on a page of its own."""

    def __init__(self, driver: Chrome, loop: Chats) -> None:
        self._driver, self._loop = driver, loop

    def ask(self, template: str, *, signal: str = "thumbs", texts: bool = True, endless: bool = False) -> str:
        """Open the page, which asks; gives the handle once the answer is there, of an endless one its beginning."""
        asked = {"template": template, "question": "When does the ferry leave?", "signal": signal}
        asked |= {"capture": self._loop.captures[texts]} | ({"endless": "true"} if endless else {})
        self._driver.get(f"{self._loop.services[True]}/?{urllib.parse.urlencode(asked)}")
        there = "const w = document.querySelector('feedback-buttons'), a = document.getElementById('answer');"
        there += "return w.shadowRoot && a.textContent.startsWith(arguments[0])"
        there += " && w.hasAttribute('streaming') === arguments[1] && w.handle"
        return str(self._until(lambda: self._driver.execute_script(there, KNOWN, endless)))

    def press(self, *parts: str) -> None:
        """Click parts of the widget, one after the other; each is acknowledged before the next."""
        for part in parts:
            self._part(f"[part~={part}]").click()
            self._sent()

    def copy(self, *lengths: int) -> None:
        """Copy the first letters of the answer by the keyboard; so many, one after the other."""
        for length in lengths:
            self._driver.execute_script(_SELECT, length)
            ActionChains(self._driver).key_down(Keys.CONTROL).send_keys("c").key_up(Keys.CONTROL).perform()
            self._sent()

    def add_and_use(self, words: str) -> None:
        """Write more behind the answer, and send the form that it stands in."""
        self._driver.find_element("id", "draft").send_keys(words)
        self._driver.find_element("id", "use").click()
        self._sent()

    def click(self, name: str) -> None:
        """Click a button of the page."""
        self._driver.find_element("id", name).click()
        self._sent()

    def correct(self, more: str) -> None:
        """Open the editor of the widget, write more behind the answer and send it."""
        self._part("[part~=link]:not([hidden])").click()
        self._part("[part~=text]").send_keys(more)
        self._part("[part~=send]").click()
        self._sent()

    def leave(self) -> None:
        """Go to another page, whatever this one is doing."""
        self._driver.get("about:blank")

    def _part(self, selector: str):
        return self._driver.execute_script(_PART, selector)

    def _sent(self) -> None:
        """Wait until capture has acknowledged everything that the page was given."""
        waits = "return Object.keys(localStorage).some((key) => key.startsWith('otel-feedback:q:'))"
        self._until(lambda: not self._driver.execute_script(waits))

    @staticmethod
    def _until(ask: Callable[[], T]) -> T:
        return wait_until(ask, "the page", timeout=10, every=0.02)
