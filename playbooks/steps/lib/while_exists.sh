# shellcheck shell=sh
# while_exists SCRIPT: print the command for a unit that runs SCRIPT repeatedly. A task may remove the script while it runs. The
# command then ends well, because a failed unit would stay until somebody resets it.
while_exists() { printf "/usr/bin/env -i /bin/sh -c '/bin/sh \"\$\$0\" || [ ! -e \"\$\$0\" ]' %s" "$1"; }
