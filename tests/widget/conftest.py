"""The widget in Chromium, on a page of one origin and before a capture of another."""

import time

import pytest
from tests.chromium import browser, chromium, screen  # noqa: F401 - fixtures of this folder
from tests.widget.node import packages  # noqa: F401
from tests.widget.site import ANSWER, Site


@pytest.fixture(scope="module")
def running():
    """A site that runs."""
    site = Site()
    site.start()
    yield site
    site.stop()


@pytest.fixture
def site(running):
    """The site, with nothing in it."""
    running.reset()
    return running


class Page:
    """One page with widgets, as a person sees it."""

    def __init__(self, driver, site):
        self.driver, self.site = driver, site

    def open(self, body=None, **details):
        """Open a page; without a body it has one answer and its buttons."""
        self.handle = self.site.handle()
        body = body or '<p id="answer">{answer}</p><feedback-buttons for="answer" {attributes}></feedback-buttons>'
        attributes = f'handle="{self.handle}" ' + details.pop("attributes", "")
        body = body.replace("{attributes}", attributes).replace("{answer}", ANSWER).replace("{handle}", self.handle)
        self.driver.get(self.site.page(body, **details))
        self.until(lambda: self.run("return !!customElements.get('feedback-buttons')"))
        return self

    def run(self, script, *arguments):
        """Run a script in the page; ``w`` is the first widget, ``part(name)`` a part of it."""
        tools = "const w = document.querySelector('feedback-buttons');"
        tools += "const part = (name, of = w) => of.shadowRoot.querySelector(`[part~=${name}]`);"
        return self.driver.execute_script(tools + script, *arguments)

    def part(self, name, n=0):
        """A part of the n-th widget."""
        return self.driver.execute_script(
            "return document.querySelectorAll('feedback-buttons')[arguments[0]].shadowRoot"
            ".querySelector(`[part~=${arguments[1]}]`)",
            n,
            name,
        )

    def click(self, name, n=0):
        """Click a part as a person does."""
        self.part(name, n).click()

    def pressed(self):
        """The values of the pressed vote buttons, by their parts."""
        return self.run("return [...part('votes').children].filter(b => b.ariaPressed === 'true').map(b => b.part[1])")

    def status(self):
        """What the status says."""
        return self.part("status").get_attribute("textContent")

    def stored(self, kind="q"):
        """What is kept of that kind, in order of their keys."""
        return self.run(
            "return Object.keys(localStorage).sort().filter((key) => key.startsWith(`otel-feedback:${arguments[0]}:`))"
            ".map((key) => JSON.parse(localStorage[key]))",
            kind,
        )

    @staticmethod
    def until(condition, seconds=8):
        """Wait until something holds, and return it."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it did not come to be"
            time.sleep(0.02)
        return found

    def received(self, n):
        """Wait for that many carriers; returns the bodies that came."""
        self.until(lambda: len(self.site.carriers) >= n)
        return self.site.bodies


@pytest.fixture
def page(browser, site):  # noqa: F811 - the fixture
    """A page; afterwards nothing is left in its storage."""
    yield Page(browser, site)
    site.start()
    browser.get(site.page(""))
    browser.execute_script("localStorage.clear()")
