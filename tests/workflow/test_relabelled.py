"""Jobs that relabel, as Snakemake sees them."""

import pytest

pytestmark = pytest.mark.workflow

CONFIGURATION = """
corpora:
  pairs: {source: generated, generator: dosage, domain: general, size: 20}
  mono:  {source: generated, generator: dosage, domain: medical, size: 20, missing: source}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 5}
  test:  {source: generated, generator: dosage, domain: general, split: test, size: 5}
  distilled: {source: relabelled, corpus: pairs, by: base}
  back:  {source: relabelled, corpus: mono, by: b/base, side: source, tag: <BT>}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {train: pairs, dev: dev, test: test}
    models:
      untrained: {from: {scratch: {family: marian}}}
      base: {train: untrained, max_steps: 2}
      more: {train: base, data: {train: [back, distilled]}, max_steps: 2}
  b:
    task: nmt
    languages: [fr, en]
    data: {train: pairs, dev: dev, test: test}
    models:
      untrained: {from: {scratch: {family: marian}}}
      base: {train: untrained, max_steps: 2}
"""


def test_they_stand_between_the_models_that_label_and_those_that_learn(empty):
    empty.write(CONFIGURATION)
    jobs = empty.run(dry=True).jobs
    assert jobs["relabel back"] == jobs["relabel distilled"] == 1 and jobs["prepare mono"] == 1
    # the corpora alone are those that need no model
    assert not [job for job in empty.run("corpora", dry=True).jobs if "relabel" in job or "train " in job]
