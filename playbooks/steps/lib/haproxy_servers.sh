# shellcheck shell=sh disable=SC2154
# How HAProxy's servers stand. Needs haproxy.sh.

# haproxy_table: write into $work/now a line for each server: BACKEND NAME ADDRESS PORT up(0|1) admin(on|drain|off) WEIGHT
# IN-FLIGHT checked(0|1)
haproxy_table() {
    haproxy_say 'show servers state; show stat'
    awk -v main="$backend" -v test="$backend-testers" '
        /^# pxname/ { split(substr($0, 3), names, ","); for (i in names) at[names[i]] = i; next }
        /^#/ || NF == 0 { next }
        !("pxname" in at) {
            of = $2; name = $4; address = $5; operational = $6; administrative = $7; weight = $8; check_state = $14; port = $19
            if (NF < 19 || (of != main && of != test)) next
            # Whoever has taken the place of the socket may say anything, and these become words of a command.
            if (address !~ /^[0-9A-Fa-f.:]+$/) address = "0.0.0.0"
            if (port !~ /^[0-9]+$/) port = 0
            up = operational == 2 || operational == 1
            # Bits of srv_admin_state: 1 maintenance, 8 drained, both by command; the others are not ours.
            admin = administrative % 2 ? "off" : int(administrative / 8) % 2 ? "drain" : "on"
            key = order[++n] = of "," name
            line[key] = of " " name " " address " " port " " up " " admin " " weight
            checked[key] = (check_state > 0)
            next
        }
        { split($0, part, ","); flight[part[at["pxname"]] "," part[at["svname"]]] = part[at["scur"]] }
        END { for (i = 1; i <= n; i++) print line[order[i]], flight[order[i]] + 0, checked[order[i]] }' "$work/heard" >"$work/now"
}
