# shellcheck shell=sh
# provision_application HOME STATE USER REPOSITORY PACKAGE...: what an application host needs before the first deploy.
home=$1
state=$2
user=$3
repository=$4
shift 4

# include packages.sh

want_packages "$@"
if ! id "$user" >/dev/null 2>&1; then
    useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$user" ||
        fail user "cannot make user $user"
    emit changed "made user $user"
fi
# folder PATH MODE
folder() {
    [ -d "$1" ] || emit changed "made $1"
    mkdir -p "$1" || fail unwritable "cannot make $1"
    chmod "$2" "$1"
}
folder "$home" 0755
folder "$home/releases" 0755
folder "$home/shared" 0755
folder "$state" 0700
case $repository in
    /*) folder "$repository" 0700 ;;
esac
emit provisioned
