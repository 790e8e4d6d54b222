mkdir local && echo input > local/input.txt && echo /local >> .gitignore
printf '1\n2\n' > raw.csv && dvc add -q raw.csv
echo frozen > frozen.txt && dvc commit -q -f frozen
