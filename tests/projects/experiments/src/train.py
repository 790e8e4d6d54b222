import pickle
from pathlib import Path

import yaml
from dvclive import Live

params = yaml.safe_load(Path("params.yaml").read_text())["train"]
rows = [[int(x) for x in path.read_text().split()] for path in sorted(Path("data/train_data").iterdir())]
with Live("results/train", save_dvc_exp=False, dvcyaml=None) as live:
    live.log_param("arch", params["arch"])
    for epoch in range(params["fine_tune_args"]["epochs"]):
        live.log_metric("train/loss", sum(map(sum, rows)) * params["valid_pct"] / (epoch + 1))
        live.next_step()
Path("models").mkdir(exist_ok=True)
Path("models/model.pkl").write_bytes(pickle.dumps(rows))
