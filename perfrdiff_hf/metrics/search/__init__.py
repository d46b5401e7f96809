"""The exact search for the nearest appropriate reaction: on the processor and on an accelerator."""
