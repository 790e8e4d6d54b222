import pickle
import random
import sys

from config import load

params = load()["train"]
random.seed(params["seed"])
with open(f"{sys.argv[1]}/train.pkl", "rb") as stream:
    rows = pickle.load(stream)
weights = [random.uniform(-1, 1) for _ in rows[0][1]]
for _ in range(params["n_est"]):
    for label, row in rows:
        wrong = label - (sum(w * x for w, x in zip(weights, row)) > 0)
        weights = [w + params["min_split"] * wrong * x for w, x in zip(weights, row)]
with open(sys.argv[2], "wb") as stream:
    pickle.dump(weights, stream)
