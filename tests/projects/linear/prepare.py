from pathlib import Path

rows = int(Path("params.yaml").read_text().split("rows:")[1].split()[0])
Path("data.csv").write_text("".join(f"{row},{word}\n" for row in range(rows) for word in Path("raw.txt").read_text().split()))
