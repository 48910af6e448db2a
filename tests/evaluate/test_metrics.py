"""The metrics against the packages that define them, on text that includes the awkward cases."""

import random
import subprocess
import sys
from importlib.metadata import version

import jiwer
import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from consomme.common.errors import ConsommeError
from consomme.evaluate.metrics import TABLE, bleu, counted_for, metric_named, metrics_of

WORDS = ["a", "the", "cat", "sat", "on", "mat", "Straße", "l'été", "don't", "3.5", "über;", "naïve,", "x"]


def texts(seed, n=60, empties=True):
    draw = random.Random(seed)
    pairs = []
    for _ in range(n):
        reference = [draw.choice(WORDS) for _ in range(draw.randrange(1, 14))]
        hypothesis = [w if draw.random() < 0.7 else draw.choice(WORDS) for w in reference if draw.random() < 0.9]
        pairs.append((" ".join(reference), " ".join(hypothesis)))
    if empties:
        pairs += [("", ""), ("the cat", ""), ("", "the cat sat")]
    return [list(side) for side in zip(*pairs, strict=True)]


def of_sums(name, references, hypotheses, language="", normaliser="verbatim"):
    metric = metric_named(name)
    return float(metric.value(metric.statistics(references, hypotheses, normaliser, language).sum(axis=0)))


@pytest.mark.parametrize("seed", range(5))
def test_translation_metrics_equal_sacrebleu(seed):
    references, hypotheses = texts(seed)
    assert of_sums("chrf++", references, hypotheses) == pytest.approx(
        CHRF(word_order=2).corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("ter", references, hypotheses) == pytest.approx(
        TER().corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("bleu", references, hypotheses) == pytest.approx(
        BLEU(force=True).corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("chrf", references, hypotheses) == pytest.approx(
        CHRF().corpus_score(hypotheses, [references]).score, abs=1e-9
    )


@pytest.mark.parametrize(
    ("references", "hypotheses"),
    [
        (["the cat sat on the mat today"], ["the cat lay on a mat"]),  # no 4-gram: smoothed
        (["the cat sat on the mat today"], ["today mat cat on"]),  # no 2-, 3-, 4-gram: smoothed more each time
        (["the cat sat on the mat"], ["the cat"]),  # too short for 3-grams: 0
        (["the cat sat on the mat"], ["dogs bark"]),  # nothing right
        (["the cat sat on the mat"], [""]),
        ([""], ["the cat"]),
        ([""], [""]),
        (["a b c d e f"], ["a b c d e f"]),
        (["a b c d e f"], ["a b c d"]),  # brevity
    ],
)
def test_translation_metrics_at_the_edges(references, hypotheses):
    assert of_sums("bleu", references, hypotheses) == pytest.approx(
        BLEU(force=True).corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("chrf", references, hypotheses) == pytest.approx(
        CHRF().corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("chrf++", references, hypotheses) == pytest.approx(
        CHRF(word_order=2).corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("ter", references, hypotheses) == pytest.approx(
        TER().corpus_score(hypotheses, [references]).score, abs=1e-9
    )


@pytest.mark.parametrize("seed", range(3))
def test_error_rates_equal_jiwer(seed):
    references, hypotheses = texts(seed)
    assert of_sums("wer", references, hypotheses) == pytest.approx(100 * jiwer.wer(references, hypotheses), abs=1e-9)
    assert of_sums("cer", references, hypotheses) == pytest.approx(100 * jiwer.cer(references, hypotheses), abs=1e-9)


def test_word_errors_of_each_utterance_are_the_edit_distance():
    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            row, above = [i], row
            for j, y in enumerate(b, 1):
                row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
        return row[-1]

    references, hypotheses = texts(11)
    words = [[distance(r.split(), h.split()), len(r.split())] for r, h in zip(references, hypotheses, strict=True)]
    characters = [[distance(r, h), len(r)] for r, h in zip(references, hypotheses, strict=True)]
    np.testing.assert_array_equal(metric_named("wer").statistics(references, hypotheses, "verbatim"), words)
    np.testing.assert_array_equal(metric_named("cer").statistics(references, hypotheses, "verbatim"), characters)


def test_an_empty_reference_counts_insertions():
    np.testing.assert_array_equal(metric_named("wer").statistics(["", ""], ["a b", ""], "verbatim"), [[2, 0], [0, 0]])
    assert of_sums("wer", ["", "a b c d"], ["x", "a b c d"]) == 25.0


def test_any_white_space_parts_words_and_the_normaliser_acts():
    wer = metric_named("wer")
    np.testing.assert_array_equal(wer.statistics(["a\tb  c"], [" a b\nc "], "verbatim"), [[0, 3]])
    np.testing.assert_array_equal(wer.statistics(["It's HERE."], ["it’s here"], "basic"), [[0, 2]])
    np.testing.assert_array_equal(wer.statistics(["It's HERE."], ["it’s here"], "verbatim"), [[2, 2]])
    np.testing.assert_array_equal(wer.statistics(["Ab"], ["ab"], str.lower), [[0, 1]])


@pytest.mark.parametrize("name", list(TABLE))
def test_values_of_many_sums_at_once(name):
    metric = metric_named(name)
    sums = np.random.default_rng(0).integers(0, 9, size=(4, 50, metric.size)).astype(float)
    together = metric.value(sums)
    assert together.shape == (4, 50)
    np.testing.assert_array_equal(together, [[metric.value(one) for one in row] for row in sums])
    assert np.isfinite(together).all()
    assert float(metric.value(np.zeros(metric.size))) == 0.0


# in Chinese, each sentence differs from its reference in one character
CHINESE = ["今天天气很好我们去公园吧", "他昨天没有来上班"], ["今天天气很好我们去公园把", "她昨天没有来上班"]


def test_bleu_cuts_chinese_into_characters():
    ours = of_sums("bleu", *CHINESE, "zh")
    assert ours == pytest.approx(BLEU(tokenize="zh").corpus_score(CHINESE[1], [CHINESE[0]]).score, abs=1e-9)
    assert ours == pytest.approx(88.01, abs=0.01)
    assert of_sums("bleu", *CHINESE, "zho_Hans") == ours
    assert of_sums("bleu", *CHINESE, "en") == of_sums("bleu-13a", *CHINESE, "zh") == 0


def test_bleu_cuts_other_languages_without_spaces_into_characters():
    thai = ["วันนี้อากาศดีมาก"], ["วันนี้อากาศดีมก"]
    expected = BLEU(tokenize="char").corpus_score(thai[1], [thai[0]]).score
    assert of_sums("bleu", *thai, "th") == of_sums("bleu-char", *thai, "en") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("language", "module", "extra"), [("ja", "MeCab", "ja"), ("kor_Hang", "mecab_ko", "ko")])
def test_bleu_says_what_a_language_needs(monkeypatch, language, module, extra):
    monkeypatch.setattr(bleu, "find_spec", lambda name: None if name == module else object())
    with pytest.raises(ConsommeError, match=rf"{module} is not installed: pip install 'sacrebleu\[{extra}\]'"):
        metric_named("bleu").tokenizer(language)
    assert [m.name for m in counted_for("nmt", [language])] == ["chrf"]
    assert metric_named("bleu-char").tokenizer(language) == "char"


def test_bleu_of_japanese_is_that_of_mecab():
    pytest.importorskip("MeCab")
    pytest.importorskip("ipadic")
    japanese = ["今日はとても天気がいいので公園に行きましょう"], ["今日はとても天気がよいので公園に行きましょう"]
    expected = BLEU(tokenize="ja-mecab").corpus_score(japanese[1], [japanese[0]]).score
    assert of_sums("bleu", *japanese, "ja") == pytest.approx(expected, abs=1e-9)


def test_the_pieces_of_flores_are_asked_for_before_any_job(monkeypatch, tmp_path):
    monkeypatch.setenv("SACREBLEU", str(tmp_path))
    with pytest.raises(ConsommeError, match="flores200sacrebleuspm; sacreBLEU fetches it"):
        metric_named("bleu-flores200").tokenizer("sw")


def test_word_errors_without_spaces_count_characters():
    chinese = ["今天 天气好"], ["今天天汽好"]  # spaces don't count
    assert of_sums("wer", *chinese, "zh") == pytest.approx(100 / 5)
    assert of_sums("wer-words", *chinese, "zh") == 100
    assert of_sums("wer", *chinese, "en") == 100
    assert of_sums("cer", *chinese, "zh") == of_sums("cer", *chinese, "en") == pytest.approx(200 / 6)
    assert of_sums("wer", ["我 有 iPhone"], ["我有 iPhones"], "zh") == pytest.approx(100 / 8)


def test_a_moved_phrase_is_one_edit():
    assert of_sums("ter", ["a b c d e f g h i j"], ["f g h i j a b c d e"]) == 10
    assert metric_named("ter").higher_is_better is False and metric_named("chrf++").higher_is_better


def test_numbers_are_no_errors_when_asked():
    german = ["Um neun Uhr kamen einundzwanzig."], ["um 9 Uhr kamen 21"]
    assert of_sums("wer", *german, "de", "basic") == pytest.approx(40)
    assert of_sums("wer", *german, "de", "numbers+basic") == 0


def test_signatures_tell_apart_what_counts_differently():
    signatures = [
        metric_named(name).signature(normaliser, language)
        for name in ("wer", "wer-words", "cer")
        for normaliser in ("basic", "numbers+basic")
        for language in ("en", "zh")
    ]
    assert len(set(signatures)) == 8  # wer-words and cer are the same in both languages
    assert metric_named("wer").signature("basic", "zh") == f"wer|tok:char|norm:basic|jiwer:{version('jiwer')}"
    assert "tok:zh|" in metric_named("bleu").signature("verbatim", "zh")
    assert "tok:13a|smooth:exp" in metric_named("bleu").signature("verbatim", "fr")
    assert "tok:intl" in metric_named("bleu-intl").signature("verbatim", "fr")
    assert "nc:6|nw:2" in metric_named("chrf++").signature("verbatim", "fr")
    assert "ter|nrefs:1|case:lc|tok:tercom" in metric_named("ter").signature("verbatim", "fr")
    assert "nc:6|nw:0" in metric_named("chrf").signature("verbatim", "fr")


@pytest.mark.parametrize("name", [n for n, m in TABLE.items() if m.needs == "hypotheses" and n != "bleu-flores200"])
def test_no_rows_have_statistics_too(name):
    metric = metric_named(name)
    assert metric.statistics([], [], "verbatim").shape == (0, metric.size)
    assert metric.statistics(["a b"], ["a"], "verbatim").shape == (1, metric.size)


def test_the_table_knows_directions_and_tasks():
    assert [m.name for m in metrics_of("nmt", "hypotheses")] == ["bleu", "chrf"]
    assert [m.name for m in metrics_of("asr")] == ["wer", "cer", "loss"]
    assert metric_named("bleu").gain(3.0) == 3.0
    assert metric_named("wer").gain(3.0) == -3.0
    with pytest.raises(ConsommeError, match="did you mean 'bleu'"):
        metric_named("blue")
    with pytest.raises(ConsommeError, match="needs the model"):
        metric_named("loss").statistics(["a"], ["a"], "verbatim")


def test_the_table_imports_nothing_heavy():
    heavy = ["numpy", "torch", "jiwer", "sacrebleu", "pandas", "transformers", "num2words", "babel"]
    code = "import sys, consomme.evaluate.metrics, consomme.evaluate.choice\n"
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
