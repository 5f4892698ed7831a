# shellcheck shell=sh disable=SC2034,SC2154
# before_switch HOME STATE RELEASE USER WHICH
#
# WHICH "run": run the before_switch hooks of a staged release that run on one host for all hosts, and note in the release that
# they ended well. WHICH "note": only note it, because they ran on another host. So nobody who continues an interrupted deploy
# runs them twice, whichever hosts it has then.
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
