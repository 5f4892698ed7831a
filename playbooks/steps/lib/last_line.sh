# shellcheck shell=sh
# last_line_of FILE: print the last line of a program's output that is not blank, without what a terminal would act on.
last_line_of() { tr -d '\000\r' <"$1" | sed 's/[[:cntrl:]]//g; s/^[[:space:]]*//; s/[[:space:]]*$//; /^$/d' | tail -n 1 | cut -c1-300; }
