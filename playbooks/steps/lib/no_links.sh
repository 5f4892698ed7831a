# shellcheck shell=sh
# Reading, or changing, a tree whose folders somebody else renames meanwhile.

# no_links OPTION FOLDER... -- COMMAND...: run a command in a view of the file system in which no symbolic link at or below
# these folders is followed, whoever puts one there at whatever moment (mount(8), nosymfollow; Linux 5.10, util-linux
# 2.37). Links can be read as links, made and removed. OPTION: a further one for these mounts, such as ro, or "-". The path
# to each folder must be root's alone; see root_only.sh. Status 125: this host cannot do it, and nothing was run.
no_links() {
    # shellcheck disable=SC2016
    unshare --mount --propagation private sh -euc '
        options=nosymfollow
        [ "$1" = - ] || options=$options,$1
        shift
        while [ "$1" != -- ]; do
            mount --rbind -- "$1" "$1" || exit 125
            seen=no
            # What is mounted below a folder is a mount of its own. A blank and the like are octal there (proc(5)).
            while read -r _ _ _ _ point _; do
                case $point in *\\*) point=$(printf "%b." "$(printf %s "$point" | sed "s/\\\\\([0-7]\{3\}\)/\\\\0\1/g")") && point=${point%.} ;; esac
                case $point in "$1" | "$1"/*) mount -o "remount,bind,$options" -- "$point" || exit 125 ;; esac
            done <<END_OF_MOUNTS
$(cat /proc/self/mountinfo)
END_OF_MOUNTS
            # An older mount(8) takes an option that it does not know for one of the file system, and does nothing.
            while read -r _ _ _ _ point flags _; do
                case $point in *\\*) point=$(printf "%b." "$(printf %s "$point" | sed "s/\\\\\([0-7]\{3\}\)/\\\\0\1/g")") && point=${point%.} ;; esac
                [ "$point" != "$1" ] || case ,$flags, in *,nosymfollow,*) seen=yes ;; *) seen=no ;; esac
            done </proc/self/mountinfo
            [ "$seen" = yes ] || exit 125
            shift
        done
        shift
        exec "$@"' no_links "$@"
}
