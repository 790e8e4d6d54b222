"""What users set: `schema` and `sources` for a run, `meta_ray` for a stage; `readers` read the values of both."""
