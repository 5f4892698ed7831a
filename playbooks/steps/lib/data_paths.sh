# shellcheck shell=sh disable=SC2034,SC2154
# Find out which data is backed up, and under which names. backup.sh and prove.sh use the same paths, in the same order. Needs
# root_only.sh, $home and $release.

data_paths=
data_views=
# add_data PATH: add to data_paths, one in each line, the paths to read for a path of data, and to data_views the folder in
# which no link may be followed meanwhile (see no_links.sh). A link that root made is followed, so its own path and its target
# are both added. Status 1 sets why: a link on the way belongs to somebody else, or somebody else can change it.
add_data() {
    refuse_users_link "$1" 'the folder that is meant in slipway_backup.paths' || return 1
    case $newline$data_paths in *"$newline$1$newline"*) return 0 ;; esac
    data_paths=$data_paths$1$newline
    # restic stores a link as a link, and the data is in its target.
    [ ! -L "$1" ] || data_paths=$data_paths$place$newline
    add_data_view=${foreign:-$place}
    [ ! -d "$add_data_view" ] || case $newline$data_views in
        *"$newline$add_data_view$newline"*) ;;
        *) data_views=$data_views$add_data_view$newline ;;
    esac
}

# refuse_users_link PATH WHAT: as find_foreign. Status 1 sets why: a link on the way belongs to somebody else than root.
refuse_users_link() {
    find_foreign "$1"
    [ -n "$foreign" ] || return 0
    # This is the part of the path that others can change. If somebody puts a link there meanwhile, no_links stops that.
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

# add_shared: add the folders that outlive releases, and the targets of links that root has put in their place.
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

# add_shared_deep: add a link of root's further down, on the way to a folder of slipway_shared.
add_shared_deep() {
    add_shared_link=$home/shared
    while [ -d "$add_shared_link" ] && [ ! -L "$add_shared_link" ]; do
        [ -n "$add_shared_rest" ] || return 0
        add_shared_link=$add_shared_link/${add_shared_rest%%/*}
        case $add_shared_rest in */*) add_shared_rest=${add_shared_rest#*/} ;; *) add_shared_rest= ;; esac
    done
    # add_shared has added the first level.
    [ "${add_shared_link%/*}" != "$home/shared" ] && [ -e "$add_shared_link" ] || return 0
    find_foreign "${add_shared_link%/*}"
    [ -n "$foreign" ] || add_data "$add_shared_link"
}

# add_release RELEASE: follow no link in a release that has folders in which the application may write.
add_release() { [ ! -s "$1/.slipway/writable" ] || data_views=$data_views$1$newline; }

# settle_data: replace a path that goes through a link of root's inside one of the views by the path without links.
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
