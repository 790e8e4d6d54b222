"""Measures what is claimed about speed: stock DVC and dvc-ray in turn, as command lines, on copies of one project.

``python -m benchmarks [name …] [--quick]`` prints Markdown; docs/benchmarks.md says what is measured for each claim.
"""
