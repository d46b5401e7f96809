"""Files to behaviour, and behaviour to training examples. Nothing here knows a model.

| module | what it is for |
|---|---|
| `recordings` | one person's files, sound and face tracks, to behaviour |
| `audio` | sound to audio features |
| `dyads` | what every source of recorded dyads shares: rows, partners, the cache |
| `react2024/` | a folder in the REACT2024 layout as a `datasets.Dataset`, and what can be wrong with it |
| `arrays`, `windows` | a dataset as memory-mapped arrays, and training examples cut from them |
| `corpus` | the splits of a folder, read once and shared |
| `sharing` | a built dataset as parquet with a card |

How to bring dyads of your own stands in `docs/data.md`. A source in another layout is a folder or file beside
`react2024/`: it lists its pairs, reads one recording, and calls `dyads.build_dyads`.
"""
