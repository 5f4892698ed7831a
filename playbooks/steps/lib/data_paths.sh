# shellcheck shell=sh disable=SC2034,SC2154
# What of the data is backed up, by which names; backup.sh and prove.sh take the same, in the same order. Needs root_only.sh,
# $home and $release.

data_paths=
data_views=
# add_data PATH: put what is to be read of a data path on data_paths, a line each, and the folder in which no link may be
# followed meanwhile on data_views (see no_links.sh). A link that root made is followed, so both its name and what it leads
# to are on the list. Status 1, and why: a link on the way is somebody else's, or could be.
add_data() {
    refuse_users_link "$1" 'the folder that is meant in slipway_backup.paths' || return 1
    case $newline$data_paths in *"$newline$1$newline"*) return 0 ;; esac
    data_paths=$data_paths$1$newline
    # restic keeps a link as a link: what it leads to is the data.
    [ ! -L "$1" ] || data_paths=$data_paths$place$newline
    add_data_view=${foreign:-$place}
    [ ! -d "$add_data_view" ] || case $newline$data_views in
        *"$newline$add_data_view$newline"*) ;;
        *) data_views=$data_views$add_data_view$newline ;;
    esac
}

# refuse_users_link PATH WHAT: as find_foreign; status 1, and why, where a link on the way is somebody else's than root's.
refuse_users_link() {
    find_foreign "$1"
    [ -n "$foreign" ] || return 0
    # The part of the path that is not root's alone: who puts a link there while we look is stopped by no_links.
    users_link=$foreign
    users_link_rest=${place#"$foreign"}
    while :; do
        if [ -L "$users_link" ]; then
            why="$1 is to be backed up, and $users_link is a link that $(stat -c %U "$users_link") made or can change; it is not followed. Name $2, or put the link where root alone can write"
            return 1
        fi
        [ -n "$users_link_rest" ] || return 0
        users_link_rest=${users_link_rest#/}
        users_link=$users_link/${users_link_rest%%/*}
        case $users_link_rest in */*) users_link_rest=/${users_link_rest#*/} ;; *) users_link_rest= ;; esac
    done
}

# add_shared: the folders that outlive releases, and those elsewhere that root has put links to in their place.
add_shared() {
    [ -e "$home/shared" ] || return 0
    add_data "$home/shared" || return 1
    [ -z "$foreign" ] || return 0
    for add_shared_link in "$home/shared"/*; do
        if [ -L "$add_shared_link" ] && [ -e "$add_shared_link" ]; then add_data "$add_shared_link" || return 1; fi
    done
    [ -s "$home/releases/$release/.slipway/shared" ] || return 0
    while IFS= read -r add_shared_rest; do add_shared_deep || return 1; done <"$home/releases/$release/.slipway/shared"
}

# add_shared_deep: a link of root's further down, on the way to a folder of slipway_shared.
add_shared_deep() {
    add_shared_link=$home/shared
    while [ -d "$add_shared_link" ] && [ ! -L "$add_shared_link" ]; do
        [ -n "$add_shared_rest" ] || return 0
        add_shared_link=$add_shared_link/${add_shared_rest%%/*}
        case $add_shared_rest in */*) add_shared_rest=${add_shared_rest#*/} ;; *) add_shared_rest= ;; esac
    done
    # The first level is done.
    [ "${add_shared_link%/*}" != "$home/shared" ] && [ -e "$add_shared_link" ] || return 0
    find_foreign "${add_shared_link%/*}"
    [ -n "$foreign" ] || add_data "$add_shared_link"
}

# add_release RELEASE: in one with folders that the application may write, no link is followed either.
add_release() { [ ! -s "$1/.slipway/writable" ] || data_views=$data_views$1$newline; }

# settle_data: give a path that goes through a link of root's inside one of the views the name that it has without links.
settle_data() {
    settled=
    while IFS= read -r settle_path; do
        [ -n "$settle_path" ] || continue
        settle_way=${settle_path%/*}
        while [ -n "$settle_way" ]; do
            if [ -L "$settle_way" ]; then
                while IFS= read -r settle_view; do
                    case $settle_way in
                        "${settle_view:-/}"/*)
                            find_foreign "$settle_path"
                            settle_path=$place
                            break 2
                            ;;
                    esac
                done <<EOF_VIEWS
$data_views
EOF_VIEWS
            fi
            settle_way=${settle_way%/*}
        done
        settled=$settled$settle_path$newline
    done <<EOF_PATHS
$data_paths
EOF_PATHS
    data_paths=$settled
}
