"""Tools for maintainers: the release check, the documentation site, the table of coverage."""
