import os
import random
import re
import sys

from config import load

params = load()["prepare"]
random.seed(params["seed"])
os.makedirs("data/prepared", exist_ok=True)
with open(sys.argv[1]) as source, open("data/prepared/train.tsv", "w") as train, open("data/prepared/test.tsv", "w") as test:
    for line in source:
        number, tags, title = re.search(r'Id="(.*?)" Tags="(.*?)" Title="(.*?)"', line).groups()
        target = test if random.random() < params["split"] else train
        target.write(f"{number}\t{int('&lt;r&gt;' in tags)}\t{title}\n")
