"""What a maintainer runs: checks of a release, the documentation site, the figure of coverage."""
