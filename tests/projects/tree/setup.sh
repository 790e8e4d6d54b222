git init -q ../lib && (cd ../lib && mkdir code && echo lib > code/lib.txt && git add -A && git commit -qm lib)
git -c protocol.file.allow=always submodule add -q ../lib lib 2>/dev/null
printf '*.big filter=fake\neol.txt text\nexported export-ignore\nident.txt ident\n' > .gitattributes
git config filter.fake.clean 'echo pointer' && git config filter.fake.smudge 'echo real bytes'
echo real bytes > weights.big && echo e > exported && echo '$Id$' > ident.txt && echo "echo tool" > tool.sh && chmod 755 tool.sh
printf 'a\r\nb\r\n' > eol.txt
git add -A 2>/dev/null && git commit -qm files && rm ident.txt && git checkout -q ident.txt
test "$(git show :weights.big)" = pointer && ln -s code/lib.txt to_lib && ln -s code to_code && ln -s nowhere broken
