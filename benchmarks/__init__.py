"""What is claimed about speed, measured: stock DVC and dvc-ray in turn, as command lines, on copies of one project.

``python -m benchmarks [name …] [--quick]`` prints Markdown; docs/benchmarks.md says what each claim measures.
"""
