"""The page at / in a browser: Debian's Chromium, without a window. Skipped where it is not installed."""

import os
import re
import shutil
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bark_onnx import Guards, NarrationOptions
from bark_onnx.normalizing.language import LANGUAGES
from bark_onnx.normalizing.libraries import LIBRARIES
from serving import LONG, Running, running, until
from tiny import SPACE

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.chrome.service import Service as Driver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")

ARGUMENTS = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

SENTENCE = "The train leaves at seven in the morning and we wait at the bridge."

# Independent of the page's own counter: what is given to the audio graph, and when it sounds.
SPY = """
window.heard = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  const samples = [...this.buffer.getChannelData(0)].map((level) => Math.round(level * 32768));
  window.heard.push({ when, samples, rate: this.buffer.sampleRate });
  return start.call(this, when);
};
"""


class Page:
    """The page in a browser."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def __getitem__(self, name: str) -> Any:
        return self.browser.find_element(By.ID, name)

    def open(self, url: str) -> None:
        """Open a page as a new visitor does."""
        self.browser.get(url)
        self.browser.execute_script("sessionStorage.clear()")
        self.browser.get(url)
        until(lambda: bool(self.voices))

    def write(self, text: str) -> None:
        """Put a text into its field, without typing it."""
        self.browser.execute_script("document.getElementById('text').value = arguments[0]", text)

    def speak(self, text: str, seed: str = "") -> None:
        self.write(text)
        self.browser.execute_script("document.getElementById('more').open = true")
        self["seed"].clear()
        self["seed"].send_keys(seed)
        self["speak"].click()

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        self.browser.switch_to.active_element.send_keys(*keys)

    @property
    def focus(self) -> str:
        return str(self.browser.switch_to.active_element.get_attribute("id"))

    @property
    def voices(self) -> list[str]:
        return [option.get_attribute("value") for option in self["voice"].find_elements(By.TAG_NAME, "option")]

    @property
    def state(self) -> str:
        return str(self["take"].get_attribute("data-state"))

    @property
    def samples(self) -> int:
        return int(self["take"].get_attribute("data-samples"))

    @property
    def heard(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.browser.execute_script("return window.heard")
        return found

    @property
    def takes(self) -> list[Any]:
        return list(self["takes"].find_elements(By.TAG_NAME, "button"))

    def complaints(self) -> list[str]:
        """What the browser says, such as violations of the policy. Answers that are errors are in order."""
        messages = [entry["message"] for entry in self.browser.get_log("browser")]
        return [message for message in messages if "Failed to load resource" not in message]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    for argument in (*ARGUMENTS, *sandbox, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    downloads = {"download.default_directory": str(tmp_path_factory.mktemp("downloads"))}
    options.add_experimental_option("prefs", downloads)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Driver(DRIVER))
    browser.downloads = Path(downloads["download.default_directory"])
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SPY})
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture(scope="module")
def server(bundle_with_voice: Path) -> Iterator[Running]:
    """A server whose model has Bark's marks, since it counts as one with Bark's semantic tokens."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bark_onnx_serve.lists.BARKS_SEMANTIC_TOKENS", SPACE.semantic_size)
            server = stack.enter_context(running(bundle_with_voice))
        yield server


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Page]:
    page = Page(browser)
    page.open(f"{server.url}/")
    yield page
    assert page.complaints() == []
    until(lambda: server.is_idle)


def test_what_sounds_is_the_speech_of_the_api_sample_for_sample(page: Page, server: Running) -> None:
    assert "alloy" in page.voices
    page.speak("hello there", seed="7")
    until(lambda: page.state == "complete")
    pieces = page.heard
    assert len(pieces) > 1
    content = server.speak("hello there", seed=7, voice=page["voice"].get_attribute("value")).body
    assert [sample for piece in pieces for sample in piece["samples"]] == [
        sample for (sample,) in struct.iter_unpack("<h", content)
    ]
    assert page.samples == len(content) // 2
    for before, after in pairwise(pieces):
        assert after["when"] >= before["when"] + len(before["samples"]) / before["rate"] - 1e-6
    assert {piece["rate"] for piece in pieces} == {24000}
    assert "seed 7" in page["shown-seed"].text
    assert re.fullmatch(r"first audio \d+\.\d\d s · real-time factor \d+\.\d\d", page["figures"].text)


def test_it_sounds_before_it_is_complete_and_can_be_stopped(page: Page, server: Running) -> None:
    page.speak(LONG)
    until(lambda: page.samples > 0)
    assert page.state == "speaking"
    assert page["progress"].is_displayed()
    assert not page["download"].is_enabled()
    page["stop"].click()
    until(lambda: page.state == "stopped")
    assert page.focus == "speak"
    until(lambda: server.is_idle)
    assert server.outcomes()["cancelled"] >= 1
    assert page["download"].is_enabled()


def test_a_seed_is_shown_and_can_be_used_again(page: Page) -> None:
    page.speak("hello")
    until(lambda: page.state == "complete")
    first = [sample for piece in page.heard for sample in piece["samples"]]
    page["keep-seed"].click()
    assert page["seed"].get_attribute("value") == page["shown-seed"].text.removeprefix("seed ")
    page.browser.execute_script("window.heard = []")
    page["speak"].click()
    until(lambda: len(page.takes) == 2 and page.state == "complete")
    assert [sample for piece in page.heard for sample in piece["samples"]] == first
    page.browser.execute_script("window.heard = []")
    page.takes[1].click()
    until(lambda: bool(page.heard))
    assert page.heard[0]["samples"] == first
    assert page.takes[1].get_attribute("aria-current") == "true"


@pytest.mark.parametrize(
    ("label", "beginning"), [("WAV", b"RIFF"), ("FLAC", b"fLaC"), ("Opus", b"OggS"), ("MP3", b"\xff")]
)
def test_a_take_can_be_saved(page: Page, label: str, beginning: bytes) -> None:
    page.speak(f"hello {label}", seed="18446744073709551615")  # more digits than a number of JavaScript holds
    until(lambda: page.state == "complete")
    page["format"].send_keys(label)
    page["download"].click()
    file = page.browser.downloads / f"hello-{label.lower()}-18446744073709551615.{label.lower()}"
    until(lambda: file.exists() and file.stat().st_size > 0)  # an empty file has the place first
    assert file.read_bytes().startswith(beginning)


# The last line is shown for a quarter of a second, which a busy machine may not see from outside the browser.
NOTE_CURRENT_LINES = """
    const list = document.getElementById("subtitles");
    const note = () => current.push([...list.children].flatMap((line, i) => line.ariaCurrent === "true" ? [i] : []));
    window.current = [];
    new MutationObserver(note).observe(list, {subtree: true, attributes: true, attributeFilter: ["aria-current"]});
"""


def test_subtitles_follow_the_sound_at_the_speed_that_was_asked_for(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times as fast, so that the test is short. No passage is spoken again, which depends on time."""
    pytest.importorskip("av", reason="PyAV is not installed")
    once = NarrationOptions(guards=Guards(retries=0))
    monkeypatch.setattr("bark_onnx_serve.service.NarrationOptions", lambda: once)
    text = f"{SENTENCE} {SENTENCE} {SENTENCE}"
    until(page["speed"].is_enabled)
    page.speak(text, seed="2")
    until(lambda: page.state == "complete")
    usual = page.samples
    page["stop"].click()
    page["speed"].send_keys(Keys.END)
    assert page.browser.find_element(By.CSS_SELECTOR, "output[for=speed]").text == "4.00"
    page.browser.execute_script(NOTE_CURRENT_LINES)
    page.speak(text, seed="2")
    until(lambda: page.state == "complete" and len(page.takes) == 2)
    assert page.samples == pytest.approx(usual / 4, abs=1)
    lines = page["subtitles"].find_elements(By.TAG_NAME, "li")
    assert " ".join(line.text for line in lines) == text
    until(lambda: page.browser.execute_script("return current.slice(-2)") == [[len(lines) - 1], []])  # it has ended
    shown = page.browser.execute_script("return current")
    assert all(len(together) <= 1 for together in shown)
    assert (spoken := [line for together in shown for line in together]) == sorted(set(spoken))
    page["format"].send_keys("Subtitles")
    page["download"].click()
    file = page.browser.downloads / f"{'-'.join(SENTENCE.lower().split()[:5])}-2.vtt"
    until(lambda: file.exists() and file.stat().st_size > 0)
    assert file.read_text().startswith("WEBVTT\n\n00:00:00.")
    assert file.read_text().count("-->") == len(lines)


def test_numbers_are_read_or_not_as_the_page_says(page: Page, server: Running) -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    page.browser.find_element(By.CSS_SELECTOR, "#more summary").click()
    options = page["normalize"].find_elements(By.TAG_NAME, "option")
    assert [option.get_attribute("value") for option in options] == ["auto", "off", *LANGUAGES]
    assert options[3].text == "German"
    page["normalize"].send_keys("Leave")
    page.speak("hello 5", seed="2")
    until(lambda: page.state == "complete")
    voice = page["voice"].get_attribute("value")
    written = server.speak("hello 5", seed=2, voice=voice, normalize="off").body
    assert page.samples == len(written) // 2 != len(server.speak("hello 5", seed=2, voice=voice).body) // 2
    page.browser.refresh()
    until(lambda: page["normalize"].is_enabled())
    assert page["normalize"].get_attribute("value") == "off"


def test_errors_are_told_in_plain_words(page: Page, server: Running) -> None:
    page.speak(" ")
    assert (page["error"].text, page.focus) == ("Write a text first.", "text")
    page.speak("hello", seed="1.5")
    assert "whole number" in page["error"].text
    assert page.focus == "seed"
    page.speak("a " * 3000)
    until(lambda: page["error"].text == "The text is too long: 6000 characters, of at most 4096.")
    page.speak("hello")
    until(lambda: page.state == "complete")
    assert page["error"].text == ""


def test_speech_that_breaks_off_is_told_and_what_came_is_kept(browser: Any, bundle: Path) -> None:
    page = Page(browser)
    with running(bundle) as server:
        page.open(f"{server.url}/")
        page.speak(LONG)
        until(lambda: page.samples > 0)
        server.service.worker.close(finish=False)
        until(lambda: page.state == "broken")
        assert page["error"].text.startswith("The speech broke off. The ")
        assert "broken off" in page["figures"].text
        assert page["download"].is_enabled()


def test_a_reload_keeps_what_was_written(page: Page) -> None:
    page["text"].send_keys("keep this")
    page.speak("keep this", seed="5")
    until(lambda: page.samples > 0)
    page.browser.refresh()
    until(lambda: bool(page.voices))
    assert [page[name].get_attribute("value") for name in ("text", "seed")] == ["keep this", "5"]
    assert not page["take"].is_displayed()


def test_the_keyboard_is_enough(page: Page) -> None:
    page["text"].click()
    page.press("hello")
    page.press(Keys.TAB, Keys.ENTER)  # the first of the marks
    assert page["text"].get_attribute("value") == "hello [laughs] "
    page.press("you")
    for _ in range(9):
        page.press(Keys.TAB)
    page.press(Keys.SPACE)  # CAPITALS
    assert page["text"].get_attribute("value") == "hello [laughs] YOU"
    page.press(Keys.CONTROL, Keys.ENTER)
    until(lambda: page.samples > 0)
    page.press(Keys.ESCAPE)
    until(lambda: not page["stop"].is_enabled())


def test_a_key_is_asked_for_below_a_path(browser: Any, bundle_with_voice: Path) -> None:
    page = Page(browser)
    with running(bundle_with_voice, api_keys=("secret",), root_path="/speech") as server:
        page.open(f"{server.url}/speech")  # without the slash
        until(page["key"].is_displayed)
        assert page["error"].text == "The server asks for an API key."
        page["key"].send_keys("wrong", Keys.TAB)
        until(lambda: page["error"].text == "The server does not know this API key.")
        page["key"].clear()
        until(lambda: page["error"].text == "The server asks for an API key.")
        page["key"].send_keys("é", Keys.TAB)
        until(lambda: page["error"].text == "The server does not know this API key.")
        page["key"].clear()
        page["key"].send_keys("secret", Keys.TAB)
        until(lambda: page["model"].text == "bark-test")
        assert page["error"].text == ""
        assert not page["marks"].is_displayed()  # this model has not Bark's semantic tokens
        page.speak("hello")
        until(lambda: page.state == "complete")
        assert page.samples > 0
    page["speak"].click()
    until(lambda: page["error"].text.startswith("The server does not answer."))


def test_the_page_of_the_api_opens_under_its_policy(page: Page) -> None:
    page.browser.find_element(By.LINK_TEXT, "API").click()
    until(lambda: "/v1/audio/speech" in page.browser.page_source)
