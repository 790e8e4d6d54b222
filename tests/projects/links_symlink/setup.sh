dvc config cache.type symlink
dvc config core.hardlink_lock true
echo raw > raw.txt && mkdir data && echo x > data/x && echo y > data/y && dvc add -q raw.txt data
