# shellcheck shell=sh disable=SC2154
# provision_application: make what an application host needs before the first deploy. build_user "-": no hook makes releases
# here.
# needs: home state user build_user repository
# words: PACKAGE...

# include build_user.sh
# include packages.sh
# include programs.sh
# include root_only.sh

# Check this before anything is made, because root runs units and scripts in these folders, and only root may read backups.
require_roots "$home" "$home/releases" "$home/shared" "$state"
case $repository in
    /*) require_root_only "$repository" 'the backup repository' ;;
esac

want_packages "$@"
if ! id "$user" >/dev/null 2>&1; then
    useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$user" ||
        fail user "cannot make user $user"
    emit changed "made user $user"
fi
require_programs "$user"
if [ "$build_user" != - ] && ! id "$build_user" >/dev/null 2>&1; then
    make_build_user "$build_user"
    emit changed "made user $build_user, who runs install hooks"
fi
# folder PATH MODE: make a folder. Everybody can read the folders above it, as those of the system.
folder() {
    [ -d "$1" ] || emit changed "made $1"
    (umask 022 && mkdir -p "$1") || fail unwritable "cannot make $1"
    chmod "$2" "$1"
}
folder "$home" 0755
folder "$home/releases" 0755
folder "$home/shared" 0755
mkdir -p "${state%/*}"
folder "$state" 0700
case $repository in
    /*) folder "$repository" 0700 ;;
esac
emit provisioned
