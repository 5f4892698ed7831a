# shellcheck shell=sh disable=SC2034,SC2154
# Running something in the release that runs, as its unit would: its user, environment, credentials, folder and limits. Needs
# home.

# include find_current.sh
# include own_release.sh

# find_unit UNIT: set release to the folder of what runs, and unit to the service that is meant: its first one for "-".
find_unit() {
    find_current
    release=$home/releases/$current
    if [ "$current" = - ] || [ ! -f "$release/.slipway/complete" ] || ! is_own_release "$release"; then
        fail nothing 'nothing that Slipway deployed runs here'
    fi
    unit=
    unit_names=
    while IFS= read -r unit_name; do
        case $unit_name in *.service) ;; *) continue ;; esac
        unit_names="$unit_names $unit_name"
        case $1 in
            - | "$unit_name" | "${unit_name%.service}" | "${unit_name%@*}") unit=${unit:-$unit_name} ;;
        esac
    done <"$release/.slipway/units"
    [ -n "$unit" ] || [ "$1" = - ] || fail no-unit "the release has no service $1; it has:${unit_names:- none}"
}

# unit_properties USER: prints KEY=VALUE for each directive of the unit, drop-ins included, that says how its programs run. What
# makes folders that end with the unit is left out: they are the running one's. First what holds where it says nothing.
unit_properties() {
    printf '%s\n' "User=$1" "WorkingDirectory=$release"
    [ -n "$unit" ] || return 0
    like_instance=${unit#*@}
    [ "$like_instance" != "$unit" ] || like_instance=
    systemctl cat "$unit" | awk -v unit="$unit" -v instance="${like_instance%.service}" '
        BEGIN {
            count = split("User Group SupplementaryGroups WorkingDirectory RootDirectory UMask Environment EnvironmentFile " \
                "PassEnvironment UnsetEnvironment LoadCredential LoadCredentialEncrypted SetCredential SetCredentialEncrypted " \
                "StateDirectory CacheDirectory LogsDirectory ConfigurationDirectory NoNewPrivileges CapabilityBoundingSet " \
                "AmbientCapabilities PrivateTmp PrivateDevices PrivateNetwork PrivateUsers ProtectSystem ProtectHome " \
                "ProtectKernelTunables ProtectKernelModules ProtectControlGroups ReadWritePaths ReadOnlyPaths " \
                "InaccessiblePaths BindPaths BindReadOnlyPaths TemporaryFileSystem LimitNOFILE LimitNPROC LimitCORE " \
                "LimitAS RestrictAddressFamilies IPAddressAllow IPAddressDeny MemoryMax", keys, " ")
            for (i = 1; i <= count; i++) wanted[keys[i]]
        }
        /^[ \t]*[#;]/ { next }
        { line = held $0; held = "" }
        line ~ /\\$/ { held = substr(line, 1, length(line) - 1) " "; next }
        line ~ /^\[/ { section = line; next }
        section != "[Service]" || !match(line, /=/) { next }
        {
            key = substr(line, 1, RSTART - 1)
            value = substr(line, RSTART + 1)
            gsub(/[ \t]/, "", key)
            sub(/^[ \t]+/, "", value)
            sub(/[ \t]+$/, "", value)
            if (!(key in wanted)) next
            if (value == "") { for (i = 1; i <= lines; i++) if (of[i] == key) of[i] = ""; next }
            of[++lines] = key
            text[lines] = value
        }
        function filled(value,   made, at, sign) {
            made = ""
            while ((at = index(value, "%"))) {
                sign = substr(value, at + 1, 1)
                made = made substr(value, 1, at - 1)
                if (sign == "i" || sign == "I") made = made instance
                else if (sign == "n") made = made unit
                else if (sign == "N") { name = unit; sub(/\.service$/, "", name); made = made name }
                else if (sign == "p") { prefix = unit; sub(/(@.*)?\.service$/, "", prefix); made = made prefix }
                else if (sign == "t") made = made "/run"
                else if (sign == "S") made = made "/var/lib"
                else if (sign == "%") made = made "%"
                else made = made "%" sign
                value = substr(value, at + 2)
            }
            return made value
        }
        END { for (i = 1; i <= lines; i++) if (of[i] != "") print of[i] "=" filled(text[i]) }'
}
