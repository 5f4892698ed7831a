# shellcheck shell=sh disable=SC2034,SC2154
# adopt: make a release of Slipway's of what another tool deployed.
# needs: home user id theirs limit about what
# words: UNIT...: the units that the next release has
#
# current leads to releases/$theirs. Its files are copied to releases/$id, with the files of those units that serve it, and
# current leads there: so what runs is what a deploy that fails goes back to. Nothing is restarted, and their release stays as
# it is. All in it may be its user's, so nothing in it is called code: it is all "writable". what "look": only say whether it
# can be done.
old=$home/releases/$theirs
release=$home/releases/$id
incoming=$home/releases/.incoming.$id

# include fingerprint.sh
# include find_current.sh
# include names.sh
# include no_links.sh
# include output.sh
# include own_release.sh
# include disk_space.sh
# include mounts.sh
# include root_only.sh
# include unit_files.sh
# include unit_paths.sh

require_stamped release "$id"
find_current
if [ "$current" = "$id" ] && is_own_release "$release"; then
    emit adopted "$id"
    exit 0
fi
[ "$current" = "$theirs" ] || fail moved "expected current to be $theirs, found $current (\"-\" means no release)"
require_roots "$home" "$home/shared" "$home/releases"
{ [ ! -e "$old/.slipway" ] && [ ! -L "$old/.slipway" ]; } || fail not-adopted "$old has a .slipway that is not Slipway's"
[ -z "$(find "$old" -mindepth 1 -maxdepth 1 -name "*$newline*" -print -quit)" ] ||
    fail not-adopted "a name in $old has a line break in it"

# is_running UNIT: whether a unit runs; for a template, whether any instance does.
is_running() {
    case $1 in
        *@.*) [ -n "$(systemctl list-units --plain --no-legend --state=active "${1%@.*}@*.${1##*.}")" ] ;;
        *) systemctl is-active --quiet "$1" ;;
    esac
}

# instances_of FILE: print the instances of a template that run or that a boot starts, one in each line.
instances_of() {
    {
        systemctl list-units --plain --no-legend --state=active "${1%@.*}@*.${1##*.}" | cut -d ' ' -f 1
        find "$units_folder" -mindepth 2 -maxdepth 2 -type l -path '*.wants/*' -name "${1%@.*}@?*.${1##*.}" -printf '%f\n'
    } | sort -u
}

# is_named FILE UNIT...: whether one of the units is the file's, or an instance of it.
is_named() {
    named_file=$1
    shift
    for named in "$@"; do
        case $named in *@*.*) named=${named%%@*}@.${named##*.} ;; esac
        [ "$named" != "$named_file" ] || return 0
    done
    return 1
}

# A unit of the old tool that still runs when the new release's units start would hold their port.
files=
units=
for unit in "$units_folder"/*.service "$units_folder"/*.socket "$units_folder"/*.timer; do
    [ -f "$unit" ] || continue
    name=${unit##*/}
    if is_named "$name" "$@"; then
        [ ! -L "$unit" ] || fail not-adopted "$unit is a link; put the unit file itself there"
        unit_owner "$unit"
        # Slipway's own, from an adoption that was interrupted.
        [ -z "$unit_of" ] || [ "$unit_of" = "$home/current" ] || fail not-adopted "$unit belongs to $unit_of"
        files=$files$name$newline
        case $name in
            *@.*)
                name=$(instances_of "$name")
                [ -z "$name" ] || units=$units$name$newline
                ;;
            *) units=$units$name$newline ;;
        esac
    elif grep -qF "$home/current" "$unit" && is_running "$name"; then
        stop=$name
        case $name in *@.*) stop=$(instances_of "$name" | paste -sd ' ' -) ;; esac
        fail not-adopted "$name runs what is in $home/current, and slipway_services has no unit of that name: name the service so, or stop it: systemctl disable --now $stop"
    fi
done
if [ "$what" = look ]; then
    emit adoptable "$theirs"
    exit 0
fi

status=0
trap 'status=$?; trap - EXIT; [ "$status" -eq 0 ] || { last_words "$home"; rm -rf "$incoming".*; }; exit "$status"' EXIT
trap 'exit 1' HUP INT TERM
group=$(id -g "$user" 2>/dev/null) || fail no-user "there is no user '$user' to run the application; run: invoke provision --env=…"
rm -rf "$incoming".* "$release"
# Only root can enter it until it is finished, because the copied files have their old owners and modes.
tree=$incoming.closed/tree
meta=$tree/.slipway
mkdir -m 0700 "$incoming.closed"
# Copied in a view without links, because whoever may change the files could put a link in root's way.
copied=0
no_links - "$old" -- timeout "$limit" cp -a --reflink=auto -- "$old/." "$tree" 2>"$incoming.err" || copied=$?
[ "$copied" -ne 125 ] || fail old-host 'this host cannot read a tree without following links; Linux 5.10 and util-linux 2.37 can'
[ "$copied" -eq 0 ] || fail_showing not-adopted "cannot copy $old" "$(cat "$incoming.err")"
# From here on only root can change the copy. Checks come now, so that they see what the user changed during the copy.
if [ -e "$meta" ] || [ -L "$meta" ]; then fail not-adopted "$old has a .slipway that is not Slipway's"; fi
[ -z "$(find "$tree" -name "*$newline*" -print -quit)" ] || fail not-adopted "a name in $old has a line break in it"
[ -z "$(find "$tree" -mindepth 1 -maxdepth 1 -name '*[][*?\\]*' -print -quit)" ] ||
    fail not-adopted "a name in $old has one of [ ] * ? or a backslash in it"
find "$tree" ! -type f ! -type d ! -type l -delete
find "$tree" -type f -perm /6000 -exec chmod u-s,g-s {} +
chown "root:$group" "$tree"
chmod 0755 "$tree"
find "$tree" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort >"$incoming.writable"
# -m sets the mode exactly: the tree may have a default access list of its user's.
mkdir -m 0700 "$meta" "$meta/unit-files"
mv "$incoming.writable" "$meta/writable"
for name in $files; do
    unit_owner "$units_folder/$name"
    {
        [ -n "$unit_of" ] || printf '# Slipway: %s\n' "$home/current"
        print_deployed "$units_folder/$name"
    } >"$meta/unit-files/$name"
    chmod 0644 "$meta/unit-files/$name"
done
printf '%s' "$units" >"$meta/units"
for name in reload shared config links; do : >"$meta/$name"; done
printf '%s\n' "$about" >"$meta/release.json"
(cd "$tree" && find ./.slipway -type f ! -path './.slipway/manifest' -print0 | sort -z | xargs -0 sha256sum) >"$incoming.manifest"
mv "$incoming.manifest" "$meta/manifest"
: >"$meta/adopted"
printf '%s\n' - >"$meta/predecessor"
chmod 0700 "$meta"
mv -T "$tree" "$release"
keep_print "$release"
sync -f "$release"
: >"$release/.slipway/proven"
: >"$release/.slipway/complete"
sync "$release/.slipway/complete" "$release/.slipway"
tell_unit_paths "$release"
installed=
reload=no
find_release_mounts "$release"
for name in $files; do install_unit "$release" "$name" "$home/current"; done
ln -sfn "releases/$id" "$home/.current.new"
mv -fT "$home/.current.new" "$home/current"
sync "$home"
[ "$reload" = no ] || systemctl daemon-reload
rm -rf "$incoming".*
emit adopted "$id"
