"""Transcripts as files."""

import json
from pathlib import Path

from consomme.transcribe.written import KINDS, Said, row_of, said_of, there, write

SAID = [Said(0.0, 1.5, "one <b> & two"), Said(3661.0004, 3662.9996, "three\n four")]


def test_subtitles_have_the_clock_of_their_format():
    assert KINDS["srt"](SAID) == (
        "1\n00:00:00,000 --> 00:00:01,500\none <b> & two\n\n2\n01:01:01,000 --> 01:01:03,000\nthree four\n\n"
    )
    assert KINDS["vtt"](SAID) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\none &lt;b&gt; &amp; two\n\n01:01:01.000 --> 01:01:03.000\nthree four\n\n"
    )


def test_text_has_a_line_a_stretch_and_json_all_that_is_known():
    assert KINDS["txt"](SAID) == "one <b> & two\nthree four\n"
    assert json.loads(KINDS["json"]([Said(0, 1, "a", channel=2)])) == {
        "text": "a",
        "segments": [{"start": 0, "end": 1, "text": "a", "channel": 2}],
    }
    assert KINDS["txt"]([Said(0, 1, "a", channel=2)]) == "[2] a\n"
    assert KINDS["srt"]([]) == "" and KINDS["txt"]([]) == "" and KINDS["vtt"]([]) == "WEBVTT\n\n"


def test_words_stand_beside_their_stretch_and_are_captions():
    words = [Said(0.5, 0.75, "a"), Said(0.75, 1.5, "b")]
    said = [Said(0.5, 1.5, "a b", channel=2, words=words), Said(2.0, 3.0, "c", channel=1, words=[])]
    first, second = json.loads(KINDS["json"](said))["segments"]
    assert first["words"] == [{"start": 0.5, "end": 0.75, "text": "a"}, {"start": 0.75, "end": 1.5, "text": "b"}]
    assert first["text"] == "a b" and second["words"] == []
    assert KINDS["srt"](said) == (
        "1\n00:00:00,500 --> 00:00:00,750\n[2] a\n\n2\n00:00:00,750 --> 00:00:01,500\n[2] b\n\n"
    )
    assert KINDS["vtt"](said).count("-->") == 2 and KINDS["txt"](said) == "[2] a b\n[1] c\n"
    assert [said_of(json.loads(json.dumps(row_of(one)))) for one in said] == said
    assert said[0].later(10.0004).words == [Said(10.5, 10.75, "a"), Said(10.75, 11.5, "b")]


def test_files_lie_as_their_recordings_do(tmp_path):
    name = Path("day 1/a.b.wav")
    assert not there(tmp_path, name, ["txt", "srt"])
    write(tmp_path, name, ["txt", "srt"], SAID)
    assert (tmp_path / "day 1/a.b.wav.srt").is_file() and there(tmp_path, name, ["txt", "srt"])
    assert not there(tmp_path, name, ["txt", "json"])
