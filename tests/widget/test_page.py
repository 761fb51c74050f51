"""The widget in other people's pages: shadow roots, strict policies, languages, directions, schemes, late handles."""

import json

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from tests.widget.site import ANSWER

STRICT = (
    "default-src 'none'; script-src {capture}; style-src 'self'; connect-src {capture}; img-src data:; "
    "require-trusted-types-for 'script'; trusted-types 'none'; report-uri /report"
)
EVERY = (
    '<p id="answer">{answer}</p><feedback-buttons {attributes} for="answer" correct reasons="wrong,too_long">'
    '</feedback-buttons><feedback-buttons handle="{handle}" signal="stars"></feedback-buttons>'
    '<feedback-buttons handle="{handle}" signal="helpful"></feedback-buttons>'
)
OPEN_ALL = """
const parts = [...document.querySelectorAll('feedback-buttons')];
part('vdown', parts[0]).click(); part('reason', parts[0]).click(); part('link', parts[0]).click();
part('v3', parts[1]).click(); part('vno', parts[2]).click();
"""


def test_it_works_under_a_strict_policy(page, site):
    """No inline style, no eval, no markup in strings: nothing is reported, and it is styled and sends."""
    page.open(EVERY, headers={"content-security-policy": STRICT.format(capture=site.capture)})
    page.driver.get_log("browser")
    page.run(OPEN_ALL)
    page.received(4)
    assert page.run("return getComputedStyle(part('base')).display") == "flex"
    assert [line["message"] for line in page.driver.get_log("browser")] == []
    assert site.reports == []


def test_a_breach_of_the_policy_would_be_seen(page, site):
    """The report that the test above waits for does come when there is something to report."""
    page.open(headers={"content-security-policy": STRICT.format(capture=site.capture)})
    page.run("document.body.setAttribute('style', 'color: red')")
    page.until(lambda: site.reports)


def test_it_works_inside_of_another_shadow_root(page, site):
    """The answer is found beside it, a copy in there is noticed, and the event comes out."""
    page.open('<div id="host" lang="fr"></div>')
    page.driver.execute_script(
        """
        const root = document.getElementById('host').attachShadow({mode: 'open'});
        root.innerHTML = `<p id="answer">${arguments[1]}</p>
          <feedback-buttons for="answer" handle="${arguments[0]}"></feedback-buttons>`;
        window.told = [];
        document.addEventListener('feedback', ({detail}) => told.push(detail.signal));
        const text = root.getElementById('answer').firstChild;
        const range = document.createRange();
        range.setStart(text, 0);
        range.setEnd(text, 7);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        window.w = root.querySelector('feedback-buttons');
        """,
        page.handle,
        ANSWER,
    )
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("c").key_up(Keys.CONTROL).perform()
    page.received(1)
    page.driver.execute_script("w.shadowRoot.querySelector('[part~=vup]').click()")
    assert [body["signal"] for body in page.received(2)] == ["copy", "thumbs"]
    assert page.driver.execute_script("return w.shadowRoot.querySelector('[part~=status]').textContent") == "Merci"
    page.until(lambda: set(page.driver.execute_script("return told")) == {"copy", "thumbs"})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_axe_finds_nothing(page, screen, packages, scheme, direction):
    """With everything open, in both schemes and directions, on a phone."""
    screen(390, 844, scheme)
    page.open(EVERY, direction=direction)
    page.run(OPEN_ALL)
    page.received(4)
    page.driver.execute_script((packages / "node_modules/axe-core/axe.min.js").read_text())
    found = page.driver.execute_async_script("axe.run().then(arguments[0])")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert any(each["id"] == "color-contrast" for each in found["passes"])
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def test_right_to_left_it_is_mirrored(page):
    """The first button stands at the right, and a text of ours keeps its own order."""
    page.open(direction="rtl")
    assert page.run("return getComputedStyle(part('vup')).unicodeBidi") == "plaintext"
    x = "return part(arguments[0]).getBoundingClientRect().x"
    assert page.run(x, "vup") > page.run(x, "vdown")


def test_nothing_moves(page):
    """There is no transition and no animation, so that there is none to reduce."""
    page.open(EVERY)
    page.run(OPEN_ALL)
    assert page.run("return document.getAnimations().length") == 0
    style = "const s = getComputedStyle(part('vup')); return [s.transitionDuration, s.animationName]"
    assert page.run(style) == ["0s", "none"]


@pytest.mark.parametrize(
    ("lang", "thanks"),
    [
        ("en-GB", "Thank you"),
        ("de", "Danke"),
        ("es-MX", "Gracias"),
        ("fr", "Merci"),
        ("ja", "ありがとう"),
        ("zh-Hans", "谢谢"),
        ("tlh", "Thank you"),
        ("", "Thank you"),
    ],
)
def test_it_speaks_the_language_of_the_page(page, lang, thanks):
    """Of the closest `lang`, whatever the region; of the browser where there is none; else English."""
    page.open(lang=lang)
    page.click("vup")
    assert page.status() == thanks
    assert page.run("return part('base').lang") == (lang[:2] if thanks != "Thank you" else "en")


def test_texts_can_be_replaced(page):
    """By an attribute or a property; a reason's label by its code."""
    texts = {"thanks": "Cheers", "too_long": "Too long for me"}
    page.open(attributes=f"reasons='too_long' texts='{json.dumps(texts)}'")
    page.click("vdown")
    assert (page.status(), page.part("reason").text) == ("Cheers", "Too long for me")
    page.run(
        "const b = document.createElement('feedback-buttons'); b.texts = {yes: 'Aye'}; b.handle = ''; w.replaceWith(b)"
    )
    assert page.part("vup").get_attribute("title") == "Aye"


def test_it_is_styled_by_parts_and_properties(page):
    """A site's own style reaches the buttons."""
    page.open(attributes="style='--feedback-accent: rgb(1, 2, 3); --feedback-radius: 7px'")
    page.run(
        "const s = document.createElement('style'); s.textContent = '::part(vote) { padding: 11px }';"
        "document.head.append(s)"
    )
    page.click("vup")
    style = "const s = getComputedStyle(part('vup')); return [s.color, s.borderRadius, s.padding]"
    assert page.run(style) == ["rgb(1, 2, 3)", "7px", "11px"]


def test_a_handle_may_come_late(page, site):
    """What is said before it waits, honestly; it is sent when the handle comes."""
    page.open("<feedback-buttons></feedback-buttons>")
    page.click("vup")
    page.run("w.accept()")
    assert (page.status(), page.pressed(), site.bodies) == ("Will be sent later", ["vup"], [])
    page.run("w.handle = arguments[0]", page.handle)
    assert [body["signal"] for body in page.received(2)] == ["thumbs", "accept"]
    page.until(lambda: page.status() == "Thank you")
    assert page.pressed() == ["vup"]


def test_a_handle_may_be_there_before_the_script(page, site):
    """A page sets the property of an element that isn't defined yet."""
    page.open('<script>const b = document.createElement("feedback-buttons"); b.handle = "{handle}";'
              "document.currentScript.replaceWith(b)</script>")  # fmt: skip
    page.click("vup")
    assert page.received(1)[0]["handle"] == page.handle


def test_another_answer_in_its_place_begins_anew(page, site):
    """A page that reuses an element for the next answer shows that one's vote, not the last one's."""
    page.open()
    page.click("vup")
    page.received(1)
    page.run("w.handle = arguments[0]", site.handle())
    assert (page.pressed(), page.status()) == ([], "")
    page.run("w.handle = arguments[0]", page.handle)
    assert page.pressed() == ["vup"]
    page.run("w.handle = null")
    assert (page.pressed(), page.part("link").is_displayed()) == ([], False)


def test_the_handle_is_picked_up_from_a_streamed_response(page):
    """It is there with the headers, long before the stream ends."""
    page.open("<feedback-buttons></feedback-buttons>")
    page.driver.set_script_timeout(10)
    ended, known = page.driver.execute_async_script(
        """
        const [script, done] = arguments;
        import(script).then(async ({observeFetch, feedbackHandle}) => {
          const w = document.querySelector('feedback-buttons');
          let ended = false, known;
          const fetching = observeFetch((handle) => { w.handle = handle; known = ended; });
          const response = await fetching('/chat');
          if (feedbackHandle(response) !== w.handle) return done(['other handle', false]);
          await response.text();
          ended = true;
          done([ended, known]);
        });
        """,
        page.site.script,
    )
    assert (ended, known) == (True, False)
    page.click("vdown")
    assert page.received(1)[0]["handle"] == page.run("return w.handle")


def test_a_listener_that_fails_does_not_hurt_the_request(page):
    """A page's `fetch` gives its response whatever the callback does."""
    page.open("<feedback-buttons></feedback-buttons>")
    status = page.driver.execute_async_script(
        "const [script, done] = arguments; import(script).then(async ({observeFetch}) =>"
        " done((await observeFetch(() => { throw new Error('mine') })('/chat')).status))",
        page.site.script,
    )
    assert status == 200


def test_the_pinned_script_is_checked_and_finds_capture(page, site):
    """By its hash with `integrity` it runs, and its default endpoint is beside it."""
    from otel_feedback.capture.widget import current_widget

    widget = current_widget()
    page.open(script=f'{site.capture}{widget.path}" crossorigin="anonymous" integrity="{widget.integrity}')
    page.click("vup")
    page.received(1)
