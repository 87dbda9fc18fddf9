"""The page in a browser, clicked as people click: it sorts, filters, compares, and runs nothing that came from data."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from reports import build as module
from reports import queries
from reports.build import build
from reports.load import load
from tests.unit.reports import chromium
from tests.unit.reports.large_run import write_large
from tests.unit.reports.sample_run import HOSTILE, write_sample

QUALITY = "#t-quality-vital-articles-500"
VERSUS = "[data-key=vital-articles-500]"
FIVE_MB = 5_000_000


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    datasets = ("vital-articles/500", "vital-articles/1k")
    folder = write_sample(
        tmp_path_factory.mktemp("runs") / "sample", datasets=datasets, queries=60, data=True, timed=20
    )
    draw = module.figures.draw
    with pytest.MonkeyPatch.context() as patch:
        # The figures of one dataset show what those of two would, in half the time.
        patch.setattr(module.figures, "draw", lambda r, s, f: draw(r, s, f) if s is r.sections[0] else ())
        build(folder)
    return folder


@pytest.fixture(scope="module")
def tab():
    path = chromium.find()
    if path is None:
        pytest.skip(f"no browser is here: looked for {', '.join(chromium.NAMES)} on the path")
    with chromium.running(path) as browser:
        yield browser.tab()


@pytest.fixture
def page(tab, run_folder):
    tab.size(1600)
    tab.scheme("light")
    tab.open(run_folder / "report" / "index.html")
    yield tab
    assert tab.problems == []
    assert tab.dialogs == []


def systems(tab, table=QUALITY):
    rows = f"[...document.querySelectorAll('{table} tbody tr:not(.group)')]"
    return tab.run(f"{rows}.filter((row) => row.offsetHeight).map((row) => row.cells[0].innerText.trim())")


def choose(tab, label, value):
    find = f"[...document.querySelectorAll('{VERSUS} label')].find((l) => l.innerText.startsWith({json.dumps(label)}))"
    tab.run(
        f"(() => {{ const list = ({find}).querySelector('select, input'); list.value = {json.dumps(value)};"
        " list.dispatchEvent(new Event('change')); list.dispatchEvent(new Event('input')); })()"
    )


def text(tab, selector):
    return tab.run(f"document.querySelector({json.dumps(selector)}).innerText")


def test_a_click_on_a_head_sorts_and_the_third_restores(page, run_folder):
    section = load(run_folder).sections[0]
    scores = {r.system: s.value for r in section.rows if (s := r.score("Success@5"))}
    before = systems(page)
    head = f"{QUALITY} thead th:nth-child(3)"
    page.click(f"{head} button")
    best_first = systems(page)
    assert best_first[-1] == "dsi-title"  # it failed
    assert [scores[s] for s in best_first[:-1]] == sorted(scores.values(), reverse=True)
    assert page.run(f"document.querySelector('{head}').ariaSort") == "descending"
    page.click(f"{head} button")
    assert [scores[s] for s in systems(page)[:-1]] == sorted(scores.values())
    assert page.run(f"document.querySelectorAll('{QUALITY} [aria-sort=ascending]').length") == 1
    page.click(f"{head} button")
    assert systems(page) == before
    assert page.run(f"document.querySelector('{head}').ariaSort") == "none"


def test_the_keyboard_sorts_by_name_and_shows_where_it_is(page):
    page.run(f"document.querySelector('{QUALITY} thead button').focus({{focusVisible: true}})")
    page.press("Enter", 13, "\r")
    assert systems(page) == sorted(systems(page))
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.run(outline) == "solid"
    page.press("Tab", 9)
    assert page.run("document.activeElement.innerText") == "Hits@1"
    assert page.run(outline) == "solid"


def test_families_and_datasets_are_filtered_and_the_address_remembers(page, run_folder):
    page.click("[data-filter=family] label:nth-of-type(2) input")
    page.click("[data-filter=dataset] label:nth-of-type(2) input")
    assert "dense" not in systems(page)
    assert "bm25" in systems(page)
    shown = "[...document.querySelectorAll('section[data-dataset], li[data-dataset]')].filter((e) => e.offsetHeight)"
    assert set(page.run(f"{shown}.map((e) => e.dataset.dataset)")) == {"vital-articles/500"}
    assert "1 of 2 datasets" in text(page, "#filters [role=status]")
    fragment = page.run("location.hash.slice(1)")
    assert "family=sparse" in fragment
    assert "family=dense" not in fragment
    page.open(run_folder / "report" / "index.html", fragment)
    assert "dense" not in systems(page)
    assert set(page.run(f"{shown}.map((e) => e.dataset.dataset)")) == {"vital-articles/500"}
    page.click("[data-filter=family] label:nth-of-type(2) input")
    assert "dense" in systems(page)
    assert "family" not in page.run("location.hash")


def test_an_address_with_names_nobody_knows_shows_the_page(page, run_folder):
    page.open(run_folder / "report" / "index.html", "family=nobody&vital-articles-500.a=%3Cscript%3E&at=limits")
    assert systems(page) == []
    page.click("[data-filter=family] input")
    assert systems(page) == ["bm25"]


@pytest.mark.parametrize("pair", [("bm25", "dense"), ("self-retrieval", "dsi"), ("dsi", "dsi")])
def test_two_systems_are_compared_with_the_right_counts(page, run_folder, pair):
    section = load(run_folder).sections[0]
    held = queries.read(section)
    columns = {column.system: column for column in held.columns}
    found = queries.duel(held, columns[pair[0]], columns[pair[1]])
    choose(page, "First system", pair[0])
    choose(page, "Second system", pair[1])
    words = f"{pair[0]} wins {found.wins}, ties {found.ties}, loses {found.losses} of 60 queries against {pair[1]}"
    assert text(page, f"{VERSUS} .counts").startswith(words)
    for which, count in (("first wins", found.wins), ("ties", found.ties), ("second wins", found.losses)):
        choose(page, "Show", which)
        assert text(page, f"{VERSUS} .controls ~ p.soft") == f"{count} of 60 queries listed."
    assert page.run("new URLSearchParams(location.hash.slice(1)).get('vital-articles-500.only')") == "second wins"


def test_queries_come_with_their_passages_largest_difference_first(page, run_folder):
    choose(page, "First system", "oracle")
    choose(page, "Second system", "random")
    first = text(page, f"{VERSUS} .duels li")
    assert "oracle ahead by 1.000" in first
    assert "✓ relevant" in first
    assert "What tells of thing" in first
    gaps = page.run(
        f"[...document.querySelectorAll('{VERSUS} .verdict')].map((e) => parseFloat(e.innerText.split(' ').pop()))"
    )
    assert len(gaps) == 20
    assert gaps == sorted(gaps, reverse=True)
    choose(page, "Search the queries", "thing 17?")
    (item,) = page.run(f"[...document.querySelectorAll('{VERSUS} .duels li')].map((e) => e.innerText)")
    for words in ("What tells of thing 17?", "Title 17", "article 17 tells of thing 17", "MRR@5 1.000"):
        assert words in item


def test_pages_turn_and_end(page):
    where = f"{VERSUS} .where"
    buttons = [f"{VERSUS} .pager button:nth-of-type({n})" for n in (1, 2)]
    assert text(page, where) == "Page 1 of 3"
    before = text(page, f"{VERSUS} .duels li")
    page.click(buttons[1])
    page.click(buttons[1])
    assert text(page, where) == "Page 3 of 3"
    assert text(page, f"{VERSUS} .duels li") != before
    assert page.run(f"document.querySelector('{buttons[1]}').disabled")
    page.click(buttons[0])
    assert text(page, where) == "Page 2 of 3"


def test_what_came_from_data_is_text_and_runs_nothing(page):
    choose(page, "Search the queries", "<script>")
    (item,) = page.run(f"[...document.querySelectorAll('{VERSUS} .duels li')].map((e) => e.innerText)")
    assert item.count(HOSTILE) >= 3  # in the query, the relevant passage's title and its text
    assert page.run("document.querySelectorAll('img, main script:not([type])').length") == 0
    assert page.dialogs == []


def test_no_other_script_may_run(page):
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert page.run("window.ran") is None
    assert any("Content Security Policy" in problem for problem in page.problems)
    page.problems.clear()


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_runs_out_of_the_page(page, width):
    page.size(width)
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    wide = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
    assert page.run(f"{wide}.every((e) => e.tabIndex === 0 && e.getAttribute('aria-label'))")
    assert (page.run(f"{wide}.length") > 0) or width > 400


def test_the_dark_is_dark(page):
    light = page.run("getComputedStyle(document.body).backgroundColor")
    page.scheme("dark")
    dark = page.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert light == "rgb(255, 255, 255)"
    assert dark == ["rgb(21, 23, 26)", "rgb(231, 233, 236)"]
    assert page.run("getComputedStyle(document.querySelector('select')).backgroundColor") == dark[0]


def test_headings_alternatives_and_the_skip_link(page):
    levels = page.run("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.run("document.querySelectorAll('svg').length") > 5
    assert page.run("[...document.querySelectorAll('svg')].every((e) => e.closest('[role=img]').ariaLabel.length > 40)")
    assert page.run("[...document.querySelectorAll('select, input')].every((e) => e.labels.length === 1)")
    assert page.run("document.documentElement.lang") == "en"
    page.press("Tab", 9)
    assert page.run("document.activeElement.className") == "skip"
    assert page.run("document.activeElement.getBoundingClientRect().x") >= 0


def test_without_a_script_the_page_is_complete(page, run_folder):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(run_folder / "report" / "index.html")
        assert "bm25" in systems(page)
        assert "With JavaScript, any two systems" in text(page, "noscript")
        assert page.run("document.querySelectorAll('#filters fieldset, .sort').length") == 0
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return build(write_large(tmp_path_factory.mktemp("runs") / "large"))


def test_ten_systems_and_three_thousand_queries_are_one_light_page(large):
    assert FIVE_MB * 0.9 < large.stat().st_size < FIVE_MB
    words = large.read_text(encoding="utf-8")
    assert "To keep the page light, " in words
    assert " passages named here, those that are first least often, stand without their text" in words


def test_the_light_page_compares_all_queries_at_once(tab, large):
    tab.size(1600)
    tab.open(large)
    assert "of 3000 queries against" in text(tab, "[data-key=large-set] .counts")
    assert text(tab, "[data-key=large-set] .where") == "Page 1 of 150"
    took_ms = tab.run(
        "(() => { const box = document.querySelector('[data-key=large-set] input[type=search]');"
        " const t = performance.now(); box.value = 'number 2999';"
        " box.dispatchEvent(new Event('input')); return performance.now() - t; })()"
    )
    assert took_ms < 1000
    assert tab.run("document.querySelectorAll('[data-key=large-set] .duels li').length") == 1
    assert tab.problems == []
