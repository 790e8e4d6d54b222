from pathlib import Path

seed = Path("seed.txt").read_text().strip()
for number in range(300):
    path = Path("many", str(number % 10), f"{number}.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{seed} {number}\n")
