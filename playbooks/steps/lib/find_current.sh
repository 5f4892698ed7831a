# shellcheck shell=sh disable=SC2034,SC2154
# find_current: set current to the release that $home runs; "-" for none.
find_current() {
    current=-
    if [ -L "${home:?}/current" ]; then
        # What a link leads to the shell knows by itself, unless that is gone.
        current=$(cd -P "$home/current" 2>/dev/null && pwd) || current=$(readlink "$home/current")
        current=${current##*/}
    fi
}
