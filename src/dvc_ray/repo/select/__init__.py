"""Which stages a run is about, and which of them have changed."""
