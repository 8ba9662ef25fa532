"""The web page of qtinter.trace.export, in a real browser."""
# ruff: noqa: F811 - fixtures that are imported

import json
import re
import shutil

import pytest

from qtinter.trace import export
from qtinter.trace._source import Gap, Note
from qtinter.trace.export import html

from .recordings import (  # noqa: F401
    HOSTILE,
    Recorder,
    program,
    recorded,
    ref,
    small,
)

REASON = "a browser is driven with selenium"
webdriver = pytest.importorskip("selenium.webdriver", reason=REASON)
ui = pytest.importorskip("selenium.webdriver.support.ui", reason=REASON)
Keys = pytest.importorskip("selenium.webdriver.common.keys", reason=REASON).Keys

SAFETY_NET = 60  # seconds
BEGIN = Recorder.BEGIN


@pytest.fixture(scope="module")
def browser(foreign_environment):
    """Chromium without a window, which reports what its pages complain of."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",  # containers have no namespaces for it
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(driver, env=foreign_environment)
    found = webdriver.Chrome(service=service, options=options)
    found.set_page_load_timeout(SAFETY_NET)
    found.set_script_timeout(SAFETY_NET)
    yield found
    found.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    """open_page(source): its page in the browser, without complaints."""

    def open_it(source):
        path = tmp_path / "page.html"
        export.export(source, path, "html")
        browser.get(path.as_uri())
        until(browser, "return document.documentElement.dataset.ready === 'yes'")
        assert complaints(browser) == []
        return browser

    yield open_it
    assert complaints(browser) == []


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def until(browser, script):
    """Waits until a script says true; fails after a long time."""
    wait = ui.WebDriverWait(browser, SAFETY_NET, 0.05)
    wait.until(lambda page: page.execute_script(script), script)


def rows(browser):
    """Texts of the cells of the rows of the table in view."""
    return browser.execute_script(
        "return Array.from(document.querySelectorAll('#table .body .row'),"
        " (row) => Array.from(row.children, (cell) => cell.textContent))"
    )


def text(browser, selector):
    return browser.find_element("css selector", selector).text


def click(browser, selector):
    browser.find_element("css selector", selector).click()


def tab(browser, name):
    click(browser, f"#tabs [data-table={name}]")


def search(browser, words):
    field = browser.find_element("css selector", "#search")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE, words)
    until(browser, f"return table.search === {json.dumps(words.lower())}")


def test_the_program(open_page, recorded):
    """Everything is there, names that look like markup are text."""
    page = open_page(recorded)
    assert page.title == "program – qtinter trace"
    assert text(page, "h1") == "program"
    assert not page.find_element("css selector", "#losses").is_displayed()
    names = {row[1]: row[2] for row in rows(page)}
    assert names["failing"] == "failed"
    assert names["sleeper"] == "waiting"
    assert names[HOSTILE] == "cancelled"
    tab(page, "slots")
    assert any("on_none" in row[1] and row[4] == "1" for row in rows(page))
    tab(page, "waits")
    (wait,) = rows(page)
    assert wait[1:4] == ["one", "Emitter 'source'", "signal"]
    assert wait[-1] == "fired"
    tab(page, "events")
    events = len(list(recorded.records()))
    assert text(page, "#tabs [data-table=events] span") == f"{events:,}"
    assert rows(page)[0][1] == "loop_created"


def test_nothing_is_loaded(open_page, recorded):
    """No address of anything else, and the browser would refuse to go there."""
    page = open_page(recorded)
    policy = "return document.querySelector('meta[http-equiv]').content"
    assert "default-src 'none'" in page.execute_script(policy)
    loaded = "return performance.getEntriesByType('resource').map((e) => e.name)"
    assert page.execute_script(loaded) == []
    source = page.execute_script("return document.documentElement.outerHTML")
    recording = re.compile(r'<script type="application/json".*?</script>', re.DOTALL)
    assert not re.search(r"https?:|src=|@import|url\(", recording.sub("", source))


def test_search(open_page):
    page = open_page(small().source())
    assert len(rows(page)) == 2
    search(page, "main")
    assert [row[1] for row in rows(page)] == ["main"]
    lanes = "return timeline.lanes.filter((l) => l.kind === 'task').map((l) => l.name)"
    assert page.execute_script(lanes) == ["main #1"]
    assert text(page, "#tabs [data-table=tasks] span") == "1 of 2"
    search(page, "no such thing")
    assert rows(page) == []
    assert text(page, "#table .empty") == "Nothing matches “no such thing”."
    tab(page, "events")
    search(page, "task_step main")
    assert [(row[1], row[2]) for row in rows(page)] == [("task_step", "main #1")] * 2
    search(page, "")
    assert len(rows(page)) > 10


def test_details_of_a_row(open_page):
    page = open_page(small().source())
    click(page, "#table .body .row:nth-child(1)")
    assert text(page, "#details h2") == "main #1"
    details = text(page, "#details")
    for words in ("failed", "ValueError", "main (app.py:1)", "145 µs"):
        assert words in details
    assert page.execute_script("return timeline.chosen.lane.name") == "main #1"
    tab(page, "waits")
    click(page, "#table .body .row:nth-child(1)")
    assert text(page, "#details h2") == "signal finished"
    click(page, "#details .link")
    assert text(page, "#details h2") == f"{HOSTILE} #2"


def test_details_of_a_slice(open_page):
    """A click into the timeline; then along an arrow."""
    page = open_page(small().source())
    place = page.execute_script(
        """
        timeline.show(0, 2e6);
        timeline.paint();
        const lane = timeline.lanes.find((l) => l.name === 'main #1');
        timeline.scrollTo(lane);
        const box = timeline.canvas.getBoundingClientRect();
        const y = lane.top - timeline.scroller.scrollTop + 10;
        return [timeline.x(75e3) - box.width / 2, y - box.height / 2];
        """
    )
    chains = webdriver.ActionChains(page)
    canvas = page.find_element("css selector", "#canvas")
    chains.move_to_element_with_offset(canvas, *map(round, place)).perform()
    until(page, "return !document.getElementById('tip').hidden")
    assert text(page, "#tip") == "runs\n85 µs from 0.000015 s"
    chains.click().perform()
    assert text(page, "#details h2") == "runs"
    details = text(page, "#details")
    assert "then" in details
    assert "waits" in details
    assert "Wakes" in details
    click(page, "#details .link")
    assert f"{HOSTILE} #2" in text(page, "#details")


def test_columns_sort(open_page):
    page = open_page(small().source())
    busy = "#table .head button:nth-child(6)"
    click(page, busy)
    assert [row[1] for row in rows(page)] == [HOSTILE, "main"]
    click(page, busy)
    assert [row[1] for row in rows(page)] == ["main", HOSTILE]
    assert text(page, busy) == "busy ↑"


def test_zoom_and_keys(open_page):
    page = open_page(small().source())
    view = "return [timeline.from, timeline.until, END]"
    begin, end, last = page.execute_script(view)
    assert (begin, end) == (0, last) == (0, 151_110_000)
    click(page, "#zoom-in")
    assert page.execute_script(view)[:2] == [last / 4, last * 3 / 4]
    body = page.find_element("css selector", "body")
    body.send_keys("a")
    assert page.execute_script(view)[0] < last / 4
    body.send_keys("0")
    assert page.execute_script(view)[:2] == [0, last]
    body.send_keys("/")
    focused = "return document.activeElement.id"
    assert page.execute_script(focused) == "search"


def test_only_tasks_in_view(open_page):
    r = small()
    r.task(160_000, 3, "late")
    r.step(160_100, 3, 50, "ends")
    page = open_page(r.source())
    lanes = "return timeline.lanes.filter((l) => l.kind === 'task').map((l) => l.ident)"
    page.execute_script("timeline.show(0, 5e6)")
    assert page.execute_script(lanes) == [1, 2, 3]
    click(page, "#active")
    assert page.execute_script(lanes) == [1, 2]
    page.execute_script("choose({task: TASKS.get(3)})")
    assert page.execute_script(lanes) == [3]
    click(page, "#fit")
    assert page.execute_script(lanes) == [1, 2, 3]


def test_losses_findings_and_problems(open_page):
    r = small()
    source = r.source(
        gaps=[Gap(4, 31, "ring", BEGIN + 1000, BEGIN + 160_000)],
        notes=[
            Note(BEGIN + 120_000_000, "stall", {
                "loop": 1, "duration": 149_000_000, "current": ref("task", 2),
                "stack": 'File "app.py", line 3\n  in <lambda>',
                "since": BEGIN + 1_000_000,
            }),
        ],
        problems=["the last chunk is damaged"],
    )  # fmt: skip
    page = open_page(source)
    losses = text(page, "#losses")
    assert "LOST: 31 events (ring)" in losses
    assert "the last chunk is damaged" in losses
    tab(page, "findings")
    found = {row[2]: row for row in rows(page)}
    assert "stall of 149 ms" in found
    assert any("QI101" in words for words in found), found
    click(page, "#table .body .row:nth-child(1)")
    assert text(page, "#details pre") == 'File "app.py", line 3\n  in <lambda>'


def test_a_long_recording_is_shortened(open_page, monkeypatch):
    monkeypatch.setattr(html, "MAX_EVENTS", 10)
    r = small()
    page = open_page(r.source())
    shown = len([record for record in r.records if record[0] >= r.records[-10][0]])
    left_out = len(r.records) - shown
    assert f"the last {shown} events; {left_out} earlier" in text(page, "#losses")
    tab(page, "events")
    assert len(rows(page)) == shown


def test_an_empty_recording(open_page):
    page = open_page(Recorder().source())
    assert text(page, "#table .empty") == "No task ran."


def test_light_and_dark(open_page):
    page = open_page(small().source())
    background = "return getComputedStyle(document.body).backgroundColor"
    found = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        command = {"features": [feature]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", command)
        found.append(page.execute_script(background))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found == ["rgb(245, 246, 248)", "rgb(18, 22, 28)"]


def test_chrome_json_in_chromium(browser, tmp_path, recorded):
    """The browser itself reads the file, and its events are whole."""
    path = tmp_path / "trace.json"
    counts = export.export(recorded, path, "chrome")
    page = tmp_path / "reads.html"
    page.write_text(
        "<script>const TRACE = "
        + path.read_text().replace("<", "\\u003c")
        + "</script>"
    )
    browser.get(page.as_uri())
    assert complaints(browser) == []
    events, phases, whole = browser.execute_script(
        """
        const all = TRACE.traceEvents;
        const slices = all.filter((e) => e.ph === 'X');
        return [all.length, [...new Set(all.map((e) => e.ph))].sort(),
          slices.every((e) => Number.isFinite(e.ts) && e.dur >= 0 && e.name)];
        """
    )
    assert events == counts["events"]
    assert phases == ["C", "M", "X", "f", "i", "s"]
    assert whole is True
