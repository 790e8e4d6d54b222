import os
import pickle
import sys

from config import load

limit = load()["featurize"]["max_features"]
source, target = sys.argv[1:]
os.makedirs(target)
words = sorted({word for line in open(f"{source}/train.tsv") for word in line.split("\t")[2].split()})[:limit]
for part in ("train", "test"):
    with open(f"{source}/{part}.tsv") as lines, open(f"{target}/{part}.pkl", "wb") as out:
        rows = [line.rstrip("\n").split("\t") for line in lines]
        pickle.dump([(int(label), [text.split().count(word) for word in words]) for _, label, text in rows], out)
