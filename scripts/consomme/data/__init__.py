"""Corpora, read once: source -> checked rows -> prepared corpus (Arrow) -> features for one processor.

`sources` is the table of corpus sources, `prepare` the stage, `prepared.Rows` what every other stage reads,
`features.features_of` the cache of model inputs, `overlap` what train and test share. Importing this package, or the
table of sources, loads nothing heavy: the plan reads it.
"""
