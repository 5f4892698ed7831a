# shellcheck shell=sh disable=SC2034,SC2154
# before_switch HOME STATE RELEASE USER WHICH
#
# WHICH "run": run those before_switch hooks of a staged release that run on one host only, for all hosts, and write down in
# the release that they ended well. WHICH "note": only write it down: they ran on another host. Whoever goes on with a deploy
# that was interrupted does not run them twice, whichever hosts are there then.
home=$1
state=$2
release=$3
user=$4
which=$5
app=${state##*/}

# include hooks.sh

folder=$home/releases/$release
[ -f "$folder/.slipway/complete" ] || fail incomplete "release $release is incomplete on this host"
[ "$which" != run ] || run_hooks "$folder" before_switch "$user" once
: >"$folder/.slipway/ran-once"
sync "$folder/.slipway"
emit ran
