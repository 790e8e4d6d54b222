import shutil
from pathlib import Path

import yaml

regions = yaml.safe_load(Path("params.yaml").read_text())["data_split"]["test_regions"]
for image in sorted(Path("data/pool_data/images").glob("*.jpg")):
    folder = Path("data/test_data" if image.name.split("-")[0] in regions else "data/train_data")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, folder / image.name)
