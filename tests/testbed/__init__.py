"""Hosts made of Linux namespaces: each with its own network, file system, processes and memory limit. See README.md."""

from tests.testbed.cloud import Testbed
from tests.testbed.host import Host
from tests.testbed.needs import has_netem, lacking

__all__ = ["Host", "Testbed", "has_netem", "lacking"]
