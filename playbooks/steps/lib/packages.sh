# shellcheck shell=sh
# include output.sh
#
# want_packages PACKAGE...: install the Debian packages that are not there yet; says which.
want_packages() {
    for package in "$@"; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing="${missing:-} $package"
    done
    [ -n "${missing:-}" ] || return 0
    command -v apt-get >/dev/null || fail packages "these are missing and there is no apt-get here:$missing"
    note "installing$missing"
    logs=$(private_folder)
    log=$logs/log
    # shellcheck disable=SC2086
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >"$log" 2>&1 &&
        ! { DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 &&
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >>"$log" 2>&1; }; then
        said=$(grep -E '^[EW]:' "$log" || tail -n 12 "$log")
        rm -rf "$logs"
        fail_showing packages "apt-get cannot install$missing" "$said"
    fi
    rm -rf "$logs"
    emit changed "installed$missing"
}
