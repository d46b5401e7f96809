"""Files to behaviour, and behaviour to training examples. Nothing here knows a model.

| module | what it is for |
|---|---|
| `audio` | sound to audio features |
| `layout`, `clips` | where the files of a folder in the REACT2024 layout lie, and how one clip's files are read |
| `check` | what is wrong with a folder: `perfrdiff check FOLDER` |
| `react2024` | a folder as a `datasets.Dataset`, its features computed once |
| `arrays`, `windows` | the dataset as memory-mapped arrays, and training examples cut from them |
| `appropriateness` | which recorded reactions are appropriate to which speaker clip: the official matrices |
| `similarity` | a rule of our own, for dyads without an official matrix |
| `sharing` | a built dataset as parquet with a card |
| `face_tracks` | face tracks of other programs to behaviour |
| `synthetic` | a small world with known styles, written in the same layout |

Bring your own dyads
--------------------
Lay them out as REACT2024 does. Names are yours; the two people of a clip must cover the same stretch of time.

    my_dyads/
      train.csv                                       ,speaker_path,listener_path
                                                      0,Lab/monday/anna/1,Lab/monday/ben/1
                                                      1,Lab/monday/anna/2,Lab/monday/ben/2
      train/Emotion/Lab/monday/anna/1.csv             one header row, 25 columns, 25 rows per second
      train/3D_FV_files/Lab/monday/anna/1.npy         (frames, 58), as recorded
      train/Audio_files/Lab/monday/anna/1.wav         any sample rate from 8 kHz, any channels
      ... and the same for ben, and for val and test

Clips may have any length of at least two windows, and differ in length. Without sound or coefficients, say so:

    from .react2024.appropriateness import load_appropriateness
    from .arrays import ClipArrays
    from .react2024.dataset import load_react2024
    from .windows import ReactionWindows

    dataset = load_react2024("my_dyads", "train", streams=("emotion",))
    arrays = ClipArrays.from_dataset(dataset)
    windows = ReactionWindows(arrays, load_appropriateness("my_dyads", "train"), window_size=25)

An appropriateness matrix, if there is none, comes from `perfrdiff similarity my_dyads`, or
is yours to write as `neighbour_emotion_train.npy`: a row and a column for each row of the dataset. Clip "1" of a
session is its listeners' history in the personal task, so give every session at least two clips.
"""
