# shellcheck shell=sh disable=SC2034,SC2154
# preflight: report what on this host speaks against a release that is to come. Changes nothing. checks/units.py judges the
# answer.
# needs: home user
# words: PORT...
#
# Standard input: the release's unit files, as a tar archive of unit-files/. Reports which of them would replace somebody
# else's, what systemd says about them, whether the user exists, which users and files they name that this host lacks, and
# who else listens on a PORT.

# include as_user.sh
# include root_only.sh
# include unit_files.sh
# include unit_paths.sh
# include verify_units.sh

scratch=$(private_folder preflight)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$scratch/.slipway" "$scratch/.slipway/unit-files"
tar --extract --directory "$scratch/.slipway" --file - 2>/dev/null || fail cut 'the unit files did not arrive whole'
units=$scratch/.slipway/unit-files

for unit in "$units"/*; do
    if [ -e "$unit" ] && unit_is_taken "$scratch" "${unit##*/}"; then emit taken "${unit##*/}" "$taken" "$taken_by"; fi
done

if find_unit_path "$units" "$home/current" "$home/current"; then
    emit opens "$unit_directive" "$unit_path" "$foreign" "$unit_whose"
fi

# Programs of the release itself are not here yet. The artifact tells whether they will be.
mkdir "$scratch/verified"
if ! verify_units "$units" "$scratch/verified" "$home/current" "$home/current"; then
    while IFS= read -r line; do emit said "$line"; done <"$scratch/verified/said"
    ! grep -q 'Unknown key' "$scratch/verified/said" ||
        for manager in /usr/lib/systemd/systemd /lib/systemd/systemd; do
            [ -x "$manager" ] || continue
            "$manager" --dump-configuration-items 2>/dev/null | while IFS= read -r line; do
                case $line in
                    '['*']') section=${line#?} && section=${section%?} ;;
                    *=*) emit directive "$section" "${line%%=*}" ;;
                esac
            done
            break
        done
fi

id -u "$user" >/dev/null 2>&1 || emit lacks account "$user"
lines=$(find "$units" -type f -exec cat {} + | sed -n 's/^\(User\|EnvironmentFile\|DynamicUser\)=\([^-%*?"][^%*?"]*\)$/\1 \2/p' | sort -u)
while read -r what value; do
    case $what in
        User)
            case $lines in *'DynamicUser yes'* | *'DynamicUser true'*) continue ;; esac
            id -u "$value" >/dev/null 2>&1 || emit lacks user "$value"
            ;;
        EnvironmentFile)
            # A deploy or the application makes the files in the release and in its shared folders.
            case $value in "$home"/*) continue ;; esac
            [ -e "$value" ] || emit lacks file "$value"
            ;;
    esac
done <<END_OF_LINES
$lines
END_OF_LINES

# unit_of_process PID: set holder to the unit that a process belongs to; to nothing for systemd itself, which holds sockets.
unit_of_process() {
    holder=
    [ "$1" != 1 ] || return 0
    while IFS=: read -r _ _ path; do
        while [ -n "$path" ]; do
            case $path in
                *.service | *.scope | *.socket) holder=${path##*/} && return 0 ;;
            esac
            path=${path%/*}
        done
    done <"/proc/$1/cgroup"
}
command -v ss >/dev/null || exit 0
for port in "$@"; do
    ss -Hltnp "sport = :$port" 2>/dev/null | while read -r _ _ _ address _ users; do
        program=${users#*\"}
        program=${program%%\"*}
        # A program chooses its own name, which may look like the rest of the line.
        pid=${users##*,pid=}
        pid=${pid%%,*}
        holder=
        case $pid in '' | *[!0-9]*) ;; *) unit_of_process "$pid" 2>/dev/null || : ;; esac
        if [ "$pid" = 1 ]; then
            holder=$(systemctl list-sockets --plain --no-legend 2>/dev/null | awk -v port=":$port" '
                substr($1, length($1) - length(port) + 1) == port { print $2; exit }')
        fi
        ours=no
        case $holder in
            '') ;;
            *)
                unit_owner "$units_folder/$holder"
                [ -n "$unit_of" ] || unit_owner "$units_folder/${holder%%@*}@.${holder##*.}"
                [ -z "$unit_of" ] || ours=yes
                ;;
        esac
        [ "$ours" = yes ] || emit listens "$port" "$address" "$holder" "$program"
    done
done
