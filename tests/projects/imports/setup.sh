mkdir ../source && cd ../source
git init -q && dvc init -q
echo data > data.txt && mkdir dir && echo 1 > dir/1 && echo 2 > dir/2 && dvc add -q data.txt dir && echo git > git.txt
git add -A && GIT_COMMITTER_DATE=2020-01-01T00:00:00Z git commit -qm data --date 2020-01-01T00:00:00Z
mkdir ../outside && echo url > ../outside/url.txt && mkdir ../outside/more && echo more > ../outside/more/1
cd ../project
dvc import -q ../source data.txt -o got.txt
dvc import -q ../source dir -o gotdir
dvc import -q ../source git.txt
sed -i 's/frozen: true/frozen: false/' got.txt.dvc
dvc import-url -q ../outside/url.txt
dvc import-url -q --no-download ../outside/more
