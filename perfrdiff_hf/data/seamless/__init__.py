"""Seamless Interaction (Meta, 2025; CC BY-NC 4.0), vendor V00: real dyads whose face features anyone can download.

| module | what it is for |
|---|---|
| `names` | ids of files, lists of pairs, how many conversations a list has |
| `layout` | where things lie, on the server and on the disk; the licence |
| `download`, `importing` | single files over the network, or from tars and folders that are there |
| `features` | one person's files to arrays, with what can be wrong with them |
| `cutting` | clips of 30 s between the frames in which a face is lost |
| `mapping` | their channels to those of this package, and which are measured, derived, unavailable |
| `roles` | which of a prompt's two roles a person plays |
| `index` | what a folder holds: conversations, clips, who speaks, what was left out and why |
| `source` | the source behind `load_dyads("seamless", ...)` |

Nothing here was tried on the release itself, only on files written after its description; what the description leaves
open is marked "uncertain" in these modules and in docs/data.md.
"""

from .source import SeamlessSource


__all__ = ["SeamlessSource"]
