# shellcheck shell=sh disable=SC2034,SC2154
# Find data in a restored tree, $root. Needs root_only.sh. Nobody changes the tree meanwhile.

# find_restored PATH: set at to the path that PATH has in the tree: PATH itself, or the path to which root's links on this host
# lead, so that no part of $root$at is a link. Status 1 sets why to a link that the backup has there.
find_restored() {
    at=$1
    ! has_link "$at" || {
        find_foreign "$1"
        at=$place
        ! has_link "$at"
    }
}

# has_link PATH: whether a part of $root/PATH is a link; sets why to that link.
has_link() {
    has_link_way=$root
    has_link_rest=${1#/}/
    while [ -n "$has_link_rest" ]; do
        has_link_way=$has_link_way/${has_link_rest%%/*}
        has_link_rest=${has_link_rest#*/}
        if [ -L "$has_link_way" ]; then
            why="${has_link_way#"$root"}"
            return 0
        fi
    done
    return 1
}
