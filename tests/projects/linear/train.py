import json
from pathlib import Path

lr = float(Path("params.yaml").read_text().split("lr:")[1].split()[0])
size = len(Path("data.csv").read_text())
Path("model.txt").write_text(f"{lr * size}\n")
Path("metrics.json").write_text(json.dumps({"loss": lr, "size": size}))
