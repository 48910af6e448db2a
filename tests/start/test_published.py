"""What is kept of a checkpoint's model card, and what the report says of training before."""

import pytest

from consomme.report.words.before import before, trained_before
from consomme.start.published import published


def card(folder, text: str):
    (folder / "README.md").write_text(text, encoding="utf-8")
    return published(folder)


def test_data_and_licence_stand_in_the_front_matter(tmp_path):
    assert published(tmp_path) == {}
    found = card(
        tmp_path, "---\nlicense: mit\ndatasets:\n- mozilla-foundation/common_voice_17_0\n- fleurs\n---\n# Card\n"
    )
    assert found == {"datasets": ["mozilla-foundation/common_voice_17_0", "fleurs"], "license": "mit"}
    assert card(tmp_path, "---\ndatasets: librispeech_asr\n---\n") == {"datasets": ["librispeech_asr"]}


@pytest.mark.parametrize(
    "text",
    [
        "no front matter",
        "---\n- a list\n---\n",
        "---\ndatasets: {a: b}\nlicense: 3\n---\n",
        "---\nkey: [never closed\n---\n",
        "---\nkey: !!python/object/apply:os.system ['true']\n---\n",
    ],
)
def test_a_card_that_says_nothing_of_it_is_no_error(tmp_path, text):
    assert card(tmp_path, text) == {}


def test_a_long_card_is_cut(tmp_path):
    found = card(tmp_path, "---\ndatasets:\n" + f"- {'x' * 500}\n" * 100 + "---\n")
    assert (len(found["datasets"]), len(found["datasets"][0])) == (30, 120)


def test_the_report_says_what_is_not_known():
    drawn = {"verb": "from", "settings": {"scratch": {"family": "ctc"}}}
    named = {"verb": "from", "settings": {}, "card": {"datasets": ["fleurs"]}}
    silent = {"verb": "from", "settings": {}}
    starts = {("a", "1"): drawn, ("b", "1"): named, ("c", "1"): silent, ("tuned", "1"): {"verb": "train"}}
    lines = trained_before(starts, {})
    assert [line.split(":")[0] for line in lines] == [
        "a began with random weights",
        "b was trained before on fleurs, as its card says. Whether test rows were among them is not known here.",
        "What c was trained on before is not known here",
    ]
    assert (before(drawn, []), before(named, [])) == ("", ", trained before on fleurs by its card")
    assert "not known here" in before(silent, [])
