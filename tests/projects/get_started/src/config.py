import yaml


def load():
    with open("params.yaml") as stream:
        return yaml.safe_load(stream)
