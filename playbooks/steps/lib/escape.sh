# shellcheck shell=sh
# escape PATH: print it for systemd, which splits words at blanks and colons and reads a backslash as an escape.
escape() { printf '%s' "$1" | sed "s/[\\\\:\"' ]/\\\\&/g"; }
