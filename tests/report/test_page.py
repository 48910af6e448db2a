"""The page in a browser: offline, without errors, on wide and narrow screens. Skipped where there is no browser."""

import contextlib
import json
from pathlib import Path

import pytest

from consomme.report.page.render import in_script, policy
from consomme.report.write import write_report

from .browser import Browser, executable  # isort: skip

needs_a_browser = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")
PAGE = Path("results/medical-translator/report.html")
EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, builder):
    """A small report. One model is named and answers as no one should."""
    place = tmp_path_factory.mktemp("page")
    with contextlib.chdir(place):
        spec = json.loads(json.dumps(builder(place, replicates=(1,), count=24)))
        healed = next(m for m in spec["models"] if m["name"] == "healed")
        for entry in json.loads(Path(healed["evaluation"]).read_text())["sets"]:
            path = Path(entry["path"])
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            lines[0]["hypothesis"] = EVIL
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        for model in spec["models"]:
            if model["node"] == "tuned" and model["verb"] == "train":
                lines = [
                    {"step": n, "loss": 4 / n + len(model["name"]) / 30, "learning_rate": 1e-4 / n}
                    for n in range(1, 400)
                ]
                (Path(model["folder"]) / "progress.jsonl").write_text(
                    "".join(json.dumps(line) + "\n" for line in lines)
                )
        write_report(spec, PAGE.parent, Path("results/cache"))
    return place


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(browser, folder):
    """The page, opened once for all tests of it."""
    browser.size(1280, 900)
    browser.open(folder / PAGE)
    return browser


def unfold(page):
    """Open all parts and wait until their charts are drawn."""
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.run(
        "Promise.all(Object.keys(charts).map(async key => { while (!views[key]?.view) await new Promise(r => setTimeout(r, 20)); }))"
    )


@needs_a_browser
def test_all_but_the_answer_is_folded_until_a_link_is_followed(page):
    assert page.run("document.querySelectorAll('details.part[open]').length") == 0
    page.run("document.querySelector('nav a[href=\"#evidence\"]').click()")
    page.run("new Promise(done => setTimeout(done, 50))")
    assert page.run("[...document.querySelectorAll('details.part[open]')].map(d => d.id)") == ["evidence"]


@needs_a_browser
def test_it_asks_for_nothing_and_has_no_errors(page, folder):
    unfold(page)
    assert page.run("document.querySelectorAll('.chart svg').length") == page.run("Object.keys(charts).length") > 5
    assert {r.partition("#")[0] for r in page.requests if not r.startswith("data:")} == {(folder / PAGE).as_uri()}
    assert page.errors == []


@needs_a_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_screen(page, width):
    page.size(width, 800)
    unfold(page)
    assert page.run("document.documentElement.scrollWidth") <= width


@needs_a_browser
def test_tables_sort_filter_and_are_saved(page):
    page.run("var table = document.querySelector('#models table'), rows = () => [...table.rows].slice(1)")
    page.run("var shown = () => rows().filter(r => !r.hidden).map(r => r.cells[0].textContent)")
    values = "rows().map(r => mainText(r.cells[1])).filter(Boolean).map(Number)"
    click = "table.rows[0].cells[1].querySelector('button').click()"
    before = page.run("shown()")
    page.run(click)
    rising = page.run(values)
    page.run(click)
    assert rising == sorted(rising) and page.run(values) == rising[::-1] and len(set(rising)) > 3
    assert sorted(page.run("shown()")) == sorted(before)
    page.run(
        "var field = document.querySelector('#models input'); field.value = 'BAL'; field.dispatchEvent(new Event('input'))"
    )
    assert page.run("shown()") == ["balanced"]
    head, row = page.run("csv(table)").splitlines()
    assert row.startswith("balanced,") and head.count(",") == row.count(",")
    # the button hands the same text to the browser
    page.run(
        "save = (name, text) => { window.saved = [name, text]; }; document.querySelector('#models .tools button').click()"
    )
    assert page.run("saved") == ["medical-translator-models-1.csv", f"{head}\n{row}\n"]


@needs_a_browser
def test_numbers_are_read_as_they_are_meant(page):
    texts = ["74\u00a0M", "1.5\u00a0k", "−0.70 to +7.19", "1,234 tokens/s", "0.0125", "Moses", ""]
    assert page.run(f"{json.dumps(texts)}.map(text => numberOf(text) + '')") == [
        "74000000",
        "1500",
        "-0.7",
        "1234",
        "0.0125",
        "NaN",
        "NaN",
    ]


@needs_a_browser
def test_one_training_is_lit_at_a_time(page):
    assert page.run("document.querySelectorAll('#curves figure').length") == 2  # loss and rate; nothing was evaluated
    lit = "[...document.querySelectorAll('#curves path.run.lit')].map(p => p.dataset.run)"
    assert page.run(lit) == []
    page.run("document.querySelectorAll('#curves path.target')[1].dispatchEvent(new Event('pointerenter'))")
    assert page.run(lit) == ["1", "1"]
    assert page.run("document.getElementById('curves-said').textContent").startswith("learning_rate=3e-05")
    page.run("document.querySelectorAll('#curves path.target')[1].dispatchEvent(new Event('pointerleave'))")
    assert page.run(lit) == []


@needs_a_browser
def test_any_two_models_are_compared_with_their_errors_marked(page):
    page.run(
        "var choose = (id, text) => { const s = document.getElementById(id); s.value = [...s.options].find(o => o.text === text).value; s.dispatchEvent(new Event('change')); }"
    )
    page.run("choose('sentences-from', 'balanced'); choose('sentences-to', 'healed')")
    said = page.run(
        "[...document.querySelectorAll('.sentence')].map(s => [...s.querySelectorAll('dt')].map(d => d.textContent))"
    )
    assert said and all(names == ["source", "reference", "balanced", "healed"] for names in said)
    # without its errors, and with what is missing, each is the reference
    texts = page.run("""[...document.querySelectorAll('.sentence')].map(s => {
        const last = s.querySelector('dd:last-child').cloneNode(true), wanted = s.querySelectorAll('dd')[1].textContent;
        last.querySelectorAll('ins').forEach(n => n.remove());
        last.querySelectorAll('mark').forEach(n => n.replaceWith(n.title.slice('for: '.length)));
        return [last.textContent.split(/\\s+/).join(' ').trim(), wanted];
    })""")
    assert (
        all(rebuilt == wanted for rebuilt, wanted in texts)
        and page.run("document.querySelectorAll('.sentence mark').length") > 5
    )


@needs_a_browser
def test_text_of_models_is_no_markup(page):
    assert page.run("document.title").startswith("medical-translator")
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.getElementById('sentences-list').textContent.includes('</script>')")


@needs_a_browser
def test_a_foreign_script_does_not_run(page):
    page.run("document.body.append(Object.assign(document.createElement('script'), {text: 'window.foreign = 1'}))")
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://example.org/x.png\">')")
    assert page.run("window.foreign") is None
    assert any("Content Security Policy" in error for error in page.errors)


def test_json_in_a_script_can_not_end_it():
    text = in_script({"said": EVIL + "<!--"})
    assert "<" not in text and json.loads(text) == {"said": EVIL + "<!--"}


def test_the_policy_names_only_the_scripts_that_are_there():
    # sha256 of "alert(1)", from another implementation: openssl dgst -sha256 -binary | base64
    found = policy(["alert(1)"])
    assert "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in found
    assert "default-src 'none'" in found and "unsafe-eval" not in found and "http" not in found
