# shellcheck shell=sh disable=SC2012,SC2034,SC2154
# What a user could write to, by root's own look: whatever asks as the user, the user can stop, kill, and have lie.

# can_write USER PATH...: whether this user can change one of these folders or files, or give itself the right to; sets
# writable_at to that one.
can_write() {
    writable_user=$1
    shift
    writable_at=
    [ $# -gt 0 ] || return 1
    writable_seen=$(ls -ldnUb -- "$@" 2>/dev/null | awk -v uid="$(id -u "$writable_user")" -v groups=" $(id -G "$writable_user") " '
        { mode = $1; owner = $3; group = $4 }
        owner == uid || substr(mode, 9, 1) == "w" { print "yes"; next }
        substr(mode, 6, 1) != "w" { print "no"; next }
        # That is the mask of an access list: what the list says of this user the kernel can tell.
        mode ~ /[+]$/ { print "ask"; next }
        { print index(groups, " " group " ") ? "yes" : "no" }')
    while read -r writable_is; do
        writable_at=$1
        case $writable_is in
            no) ;;
            ask) is_denied "$writable_user" "$1" || return 0 ;;
            # Or one of them is gone while we look: then no line can be told from another.
            *) return 0 ;;
        esac
        shift
    done <<END_OF_WRITABLE
$writable_seen
END_OF_WRITABLE
    writable_at=${1:-}
    [ $# -gt 0 ]
}

# is_denied USER PATH: who is kept from answering has not said so.
is_denied() {
    denied=0
    timeout --kill-after=1 10 setpriv --reuid="$1" --regid="$(id -g "$1")" --init-groups --no-new-privs --inh-caps=-all \
        test -w "$2" </dev/null >/dev/null 2>&1 || denied=$?
    [ "$denied" = 1 ]
}

# add_way PATH: put each folder and file on the way to PATH, itself included, on way, a line each; those that links lead
# through, too, whoever made the links.
add_way() {
    way_at=
    way_rest=${1#/}/
    way_links=0
    while [ -n "$way_rest" ]; do
        way_part=${way_rest%%/*}
        way_rest=${way_rest#*/}
        case $way_part in
            '' | .) continue ;;
            ..) way_at=${way_at%/*} && continue ;;
        esac
        if [ -L "$way_at/$way_part" ] && [ "$way_links" -lt 40 ]; then
            way_links=$((way_links + 1))
            way_target=$(readlink "$way_at/$way_part")
            way_rest=${way_target#/}/$way_rest
            case $way_target in /*) way_at= ;; esac
            continue
        fi
        way_at=$way_at/$way_part
        [ -e "$way_at" ] || return 0
        case $newline$way in *"$newline$way_at$newline"*) ;; *) way=$way$way_at$newline ;; esac
    done
}
