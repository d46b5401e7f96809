"""Files to behaviour, and behaviour to training examples. Nothing here knows a model.

| module | what it is for |
|---|---|
| `recordings` | one person's files, sound and face tracks, to behaviour |
| `audio` | sound to audio features |
| `catalogue` | the one door, `load_dyads`, and which sources there are |
| `source`, `masks`, `histories` | what a source says of itself: rows, channels that it has, histories |
| `dyads` | what every source builds its rows with: columns, partners, the cache |
| `react2024/` | a folder in the REACT2024 layout as a `datasets.Dataset`, and what can be wrong with it |
| `arrays`, `windows` | a dataset as memory-mapped arrays, and training examples cut from them |
| `corpus` | the splits of a folder, read once and shared |
| `sharing` | a built dataset as parquet with a card |

How to bring dyads of your own stands in `docs/data.md`. A source in another layout is a folder or file beside
`react2024/` with a subclass of `source.DyadSource`: it lists its pairs, reads one recording, and calls
`dyads.build_dyads`.
"""
