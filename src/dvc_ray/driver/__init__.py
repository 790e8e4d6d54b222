"""Drives a run.

`schedule` takes the stages of a `state` in turn (`ready_queue` and `admission` say which may go on, `feasibility`
whether Ray has a place for them). `attempts` submits them and processes their ends, `install` merges what they made,
`takeover` merges what a killed run had finished; `stopping` ends a run, `explain` words the messages. `data_mode` is
chosen first: whether machines share the head's disk decides how data travels.
"""
