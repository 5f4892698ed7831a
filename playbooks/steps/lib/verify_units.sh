# shellcheck shell=sh
# verify_units FOLDER SCRATCH PLACE RELEASE: whether systemd accepts the unit files in FOLDER. In copies of them, which are in
# SCRATCH, RELEASE replaces PLACE. systemd's messages are in SCRATCH/said.
verify_units() {
    verify_folder=$1
    verify_scratch=$2
    verify_edit="s|$3|$4|g"
    set --
    for unit in "$verify_folder"/*.service "$verify_folder"/*.socket; do
        [ -f "$unit" ] || continue
        name=${unit##*/}
        sed "$verify_edit" "$unit" >"$verify_scratch/$name"
        set -- "$@" "$verify_scratch/$name"
        if [ -d "$unit.d" ]; then cp -r "$unit.d" "$verify_scratch/$name.d"; fi
    done
    : >"$verify_scratch/said"
    [ $# -gt 0 ] || return 0
    verified=0
    systemd-analyze verify --man=no --recursive-errors=no "$@" >"$verify_scratch/heard" 2>&1 || verified=$?
    sed "s|$verify_scratch/||g" "$verify_scratch/heard" >"$verify_scratch/said"
    return "$verified"
}
