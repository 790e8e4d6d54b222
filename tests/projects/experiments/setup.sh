mkdir -p data/pool_data/images
for region in 1 2; do for n in 1 2 3; do echo "$region $n" > data/pool_data/images/REGION_$region-$n.jpg; done; done
dvc add -q data/pool_data
