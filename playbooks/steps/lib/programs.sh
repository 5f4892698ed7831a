# shellcheck shell=sh disable=SC2154
# Whether what root runs by its name is root's.

# include can_write.sh
programs_of_roots=' restic pgbackrest zstd curl jq getfattr setfattr sqlite3 psql pg_dump pg_restore pg_isready nginx haproxy socat certbot openssl '

# require_programs USER: from now on programs below /usr/local come first, as an administrator means them to. Refuse a host on which this user can put programs where root's are looked for, or change one that is
# there, or a library that programs look for, be it by a link to a folder of the user's. Only this user counts: folders below /usr/local are a group's on some
# distributions, which harms nobody who is not in it. A database's host may have no such user.
require_programs() {
    refuse_programs "$1"
    PATH=$settings_path
}

# refuse_programs USER: the same for what runs programs of the system only. Those, too, look below /usr/local for modules.
refuse_programs() {
    programs_uid=$(id -u "$1" 2>/dev/null) || programs_uid=0
    [ "$programs_uid" = 0 ] || look_at_programs "$1"
}

look_at_programs() {
    programs_user=$1
    IFS=:
    # shellcheck disable=SC2086
    set -- $settings_path
    unset IFS
    # Where the system's own programs look for their libraries and modules: psql is written in Perl, certbot in Python.
    for program in /usr/local/lib* /usr/local/share /usr/local/lib/*-linux-gnu* /usr/local/lib/site_perl /usr/local/lib/*/perl/* \
        /usr/local/share/perl* /usr/local/share/perl*/* /usr/local/lib64/perl5 /usr/local/lib*/python3* /usr/local/lib*/python3*/*-packages; do
        [ ! -d "$program" ] || set -- "$@" "$program"
    done
    # Those that come before one of the system, and those that root looks for by name.
    for program in /usr/local/sbin/* /usr/local/bin/*; do
        name=${program##*/}
        case $programs_of_roots in
            *" $name "*) ;;
            *) [ -e "/usr/bin/$name" ] || [ -e "/usr/sbin/$name" ] || [ -e "/bin/$name" ] || [ -e "/sbin/$name" ] || continue ;;
        esac
        set -- "$@" "$program"
    done
    way=
    for program in "$@"; do add_way "$program"; done
    can_write_list "$programs_user" "$way" || return 0
    programs_why=$writable_at
    for program in "$@"; do
        way=
        add_way "$program"
        case $newline$way in *"$newline$writable_at$newline"*) ;; *) continue ;; esac
        [ "$program" = "$writable_at" ] || programs_why="$writable_at, which is $program or on the way to it"
        break
    done
    fail unsafe-path "user $programs_user can write to $programs_why, and what is there root runs; take that away: ls -ld $writable_at"
}

# can_write_list USER LINES
can_write_list() {
    list_user=$1
    IFS=$newline
    set -f
    # shellcheck disable=SC2086
    set -- $2
    set +f
    unset IFS
    can_write "$list_user" "$@"
}
