# shellcheck shell=sh
# make_build_user NAME: the user that install hooks run as (build.sh). It owns nothing that lasts, and nobody logs in as it. Its
# number is none of the highest, which images of containers give their users: their processes would count as its own.
make_build_user() {
    useradd --key SYS_UID_MIN=400 --key SYS_UID_MAX=899 --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1" ||
        fail no-user "cannot make user $1, who runs install hooks"
}
