"""The verbs: what the command line and users of the library call.

Each is a straight list of steps: a `call` is opened (settings, machines), a plan is made (`plans`), a `run` is driven,
settled and closed.
"""

from dvc_ray.api.verbs import exp_run, make_exp_plan, make_plan, plan, repro

__all__ = ["exp_run", "make_exp_plan", "make_plan", "plan", "repro"]
