# shellcheck shell=sh disable=SC2034,SC2154
# repository: whether a backup's restic repository opens with this password. Changes nothing, so that a
# repository that is not there yet is no fault. Standard input: see restic.sh.
# needs: state repository user

# include disk_space.sh
# include restic.sh
# include programs.sh

payload_line() { :; }
read_payload
require_programs "$user"
command -v restic >/dev/null || exit 0
scratch=$(private_folder repository)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
# A store that does not answer restic asks for a quarter of an hour; nobody waits so long for a look.
restic_with_secrets --no-lock --no-cache --quiet cat config >"$scratch/config" 2>"$scratch/err" </dev/null &
restic_pid=$!
(for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1; done && kill "$restic_pid") >/dev/null 2>&1 </dev/null &
watch=$!
restic_status=0
wait "$restic_pid" || restic_status=$?
kill "$watch" 2>/dev/null || :
[ "$restic_status" -ne 0 ] || exit 0
[ "$restic_status" -lt 128 ] || fail no-answer "the restic repository $repository did not answer within 20 s"
explain_restic cat "$(said_by "$scratch/err")"
if [ "$code" = no-repository ]; then
    for record in "$state"/backups/*.json; do
        if [ -f "$record" ] && grep -qF "\"$repository\"" "$record"; then
            fail no-repository "the restic repository $repository is gone, though backup $(basename "$record" .json) was made in it"
        fi
    done
    exit 0
fi
fail "$code" "$said"
