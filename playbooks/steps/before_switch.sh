# shellcheck shell=sh disable=SC2034,SC2154
# before_switch: run the hooks of a staged release that run on one host for all hosts.
# needs: app home user release which
#
# which "run": run its before_switch hooks with "once", and note in the release that they ended well. which "note": only note
# it, because they ran on another host. So nobody who continues an interrupted deploy runs them twice, whichever hosts it has
# then.

# include hooks.sh

folder=$home/releases/$release
[ -f "$folder/.slipway/complete" ] || fail incomplete "release $release is incomplete on this host"
[ "$which" != run ] || run_hooks "$folder" before_switch "$user" once
: >"$folder/.slipway/ran-once"
sync "$folder/.slipway"
emit ran
