"""Drives a run.

`schedule` takes the stages of a `state` in turn (`ready_queue` and `admission` say which may go on, `feasibility`
whether Ray has a place for them); `attempts` hands them over and takes their ends, `install` takes home what they left,
`takeover` what a run had finished that did not end; `stopping` ends a run, `explain` finds words. `data_mode` is chosen
first: whether machines share the head's disk decides how data travels.
"""
