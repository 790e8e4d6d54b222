mkdir data
python -c "
import random
random.seed(1)
for n in range(60):
    print(f'<row Id=\"{n}\" Tags=\"{random.choice([\"&lt;r&gt;\", \"&lt;python&gt;\"])}\" Title=\"{\" \".join(random.choices(\"data plot read table frame\".split(), k=5))}\" />')
" > data/data.xml
dvc add -q data/data.xml
dvc remote add -q -d storage ../storage
