import json
import os
import pickle
import sys

model, features = sys.argv[1:]
with open(model, "rb") as stream:
    weights = pickle.load(stream)
os.makedirs("eval/live/plots", exist_ok=True)
os.makedirs("eval/prc", exist_ok=True)
metrics = {}
for part in ("train", "test"):
    with open(f"{features}/{part}.pkl", "rb") as stream:
        rows = pickle.load(stream)
    scored = [(label, sum(w * x for w, x in zip(weights, row))) for label, row in rows]
    points = [{"actual": str(label), "predicted": str(int(score > 0)), "fpr": score, "tpr": label} for label, score in scored]
    metrics[part] = {"accuracy": sum(p["actual"] == p["predicted"] for p in points) / len(points)}
    for path in (f"eval/live/plots/{part}.json", f"eval/prc/{part}.json"):
        with open(path, "w") as out:
            json.dump(points, out)
with open("eval/importance.csv", "w") as out:
    out.write("name,value\n" + "".join(f"{number},{weight:.6f}\n" for number, weight in enumerate(weights)))
with open("eval/metrics.json", "w") as out:
    json.dump(metrics, out)
