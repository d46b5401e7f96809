"""From models to reactions: one window, a stream of them, a whole clip, and many streams at once.

`PerFRDiffPipeline` (perfrdiff) is a `ReactionPipeline` (reaction_pipeline), which makes a `WindowReactor` (windows)
for every `ReactionStream` (streaming); `serve` (serving) takes many streams. What most users need is to be had from
the package itself, which loads what is used.
"""
