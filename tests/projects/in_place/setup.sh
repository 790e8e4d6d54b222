echo data > data.txt; mkdir dd; echo 1 > dd/1; echo 2 > dd/2; dvc add -q data.txt dd
