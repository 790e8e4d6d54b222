"""Drives a run.

`loop` schedules the stages of a `table` (`board` and `room` say which may go on, `placing` whether Ray has a place for
them), `results` takes home what they left, `resume` what a run had finished that did not end, `explain` finds words.
`data_mode` is chosen first: whether machines share the head's disk decides how data travels.
"""
