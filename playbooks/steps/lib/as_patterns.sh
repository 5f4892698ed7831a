# shellcheck shell=sh
# as_patterns FILE: its lines, paths, as find(1) takes them: in them [ ] * ? and \ mean themselves.
as_patterns() { sed 's/[][*?\\]/\\&/g' "$1"; }
