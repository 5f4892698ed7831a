# shellcheck shell=sh disable=SC2154
# Several applications may have one balancer's host. Each has a part of the configuration, $files/APP.$suffix, and its
# first line says whose: "# slipway APP BACKEND part|whole PORT...". A whole one is from a template of the user's own. One that
# answers at host names has them in the second: "# names NAME...".
# Needs app, backend, kind, ports, names and incoming (a folder of this step's).

# make_part FILES SUFFIX: into $incoming/parts every application's part, ours as it is to be.
make_part() {
    mkdir "$incoming/parts"
    for part in "$1"/*."$2"; do
        [ ! -f "$part" ] || cp "$part" "$incoming/parts/"
    done
    whole=part
    [ -s "$incoming/shared" ] || whole=whole
    {
        printf '# slipway %s %s %s %s\n' "$app" "$backend" "$whole" "$ports"
        [ -z "$names" ] || printf '# names %s\n' "$names"
        cat "$incoming/config"
    } >"$incoming/parts/$app.$2"
}

# names_of PART: prints the host names that a part answers at; nothing where it answers at all.
names_of() { sed -n '2s/^# names //p' "$1"; }

# refuse_neighbours: what would take another application off the air, or be taken off by it.
refuse_neighbours() {
    for part in "$incoming"/parts/*; do
        read -r _ _ their their_backend their_whole their_ports <"$part"
        [ "$their" != "$app" ] || continue
        if [ "$whole$their_whole" != partpart ]; then
            own=$app
            [ "$their_whole" = part ] || own=$their
            fail neighbour "$their is balanced on this host as well, and $own has a template of its own for all of the configuration, where $app and $their do not both fit; use the stock template and slipway_balancer.extra, or another host"
        fi
        [ "$backend" != "$their_backend" ] ||
            fail neighbour "$their is balanced on this host as well, and its backend is called $backend, too; give slipway_balancer.backend another name"
        their_names=$(names_of "$part")
        for port in $ports; do
            case " $their_ports " in
                *" $port "*) ;;
                *) continue ;;
            esac
            if [ -n "$names" ] && [ -n "$their_names" ]; then continue; fi
            fail neighbour "clients reach $their at port $port of this host; give $app another port in slipway_balancer.listen or tls.ports, or another host; or both of them host names, in slipway_balancer.names"
        done
        for name in $names; do
            case " $their_names " in
                *" $name "*) fail neighbour "clients reach $their at $name on this host; give $app another name in slipway_balancer.names, or another host" ;;
            esac
        done
    done
    for port in $ports; do
        # Whoever listens there: HAProxy would find out only once it has begun anew.
        who=$(ss -Hltnp "sport = :$port" | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | head -n 1)
        case $who in
            '' | "$kind") ;;
            *) fail neighbour "$who listens at port $port of this host; end it, or give $app another port in slipway_balancer.listen or tls.ports" ;;
        esac
    done
}

# refuse_strangers CONFIG SUFFIX: a configuration that is neither ours nor the one that came with the package.
refuse_strangers() {
    [ -s "$1" ] || return 0
    read -r _ word by _ _ of _ <"$1" || :
    case $word/$by in
        slipway/* | Rendered/by)
            # Before applications had parts, the whole of it was one's.
            of=${of%;}
            [ "$word" = slipway ] || [ "$of" = all ] || [ "$of" = "$app" ] || [ -f "$incoming/parts/$of.$2" ] ||
                fail neighbour "$1 on this host is that of $of; provision $of first, so that it has a part of its own there"
            return 0
            ;;
    esac
    sum=$(md5sum <"$1")
    dpkg-query --show --showformat='${Conffiles}\n' haproxy nginx-common 2>/dev/null | grep -qF " $1 ${sum%% *}" ||
        fail neighbour "$1 on this host was written by somebody else, and would be lost; move it away if nobody needs it, else take another host"
}
