dvc remote add -q other ../other
echo 0 > frozen.txt; dvc commit -q -f frozen
