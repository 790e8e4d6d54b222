"""Where attempts run. `base` says what an executor does; `local` runs in this process, `ray` on a cluster."""
