"""A vote's life in the browser, as it comes to the carrier."""

from otel_feedback import semconv


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
    page.click("vup")
    assert page.status() == "Thank you"
    assert page.pressed() == ["vup"]
    (body,) = page.received(1)
    assert said(body) == {"signal": "thumbs", "value": "up"}
    assert body["handle"] == page.handle
    assert len(body["id"]) == len(body["nonce"]) == 32
    (carrier,) = site.carriers
    assert (carrier.name, sentiments(site)) == ("feedback thumbs", ["positive"])
    page.until(lambda: page.stored() == [])
