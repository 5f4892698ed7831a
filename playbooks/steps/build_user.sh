# shellcheck shell=sh
# make_build_user NAME: the user that install hooks run as (build.sh). It owns nothing that lasts, and nobody logs in as it.
make_build_user() {
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1" ||
        fail no-user "cannot make user $1, who runs install hooks"
}
