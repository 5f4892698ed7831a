# shellcheck shell=sh
# while_exists SCRIPT: prints the command of a unit that runs a script of ours again and again. A task may take the script away
# while it looks: what it could not read then is no failed unit, which would stay until somebody resets it.
while_exists() { printf "/usr/bin/env -i /bin/sh -c '/bin/sh \"\$\$0\" || [ ! -e \"\$\$0\" ]' %s" "$1"; }
