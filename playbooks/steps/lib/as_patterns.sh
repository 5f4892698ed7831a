# shellcheck shell=sh
# as_patterns FILE: print its lines (paths) as patterns for find(1), with [ ] * ? and \ escaped.
as_patterns() { sed 's/[][*?\\]/\\&/g' "$1"; }
