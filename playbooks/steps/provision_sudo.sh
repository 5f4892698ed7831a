# shellcheck shell=sh disable=SC2154
# provision_sudo: write what the user may do with sudo, from standard input, into /etc/sudoers.d/$file. asks: "asks" if there
# is a password for sudo. A text that visudo does not accept never gets there: sudo would refuse everybody.
# needs: user file asks
place=/etc/sudoers.d/$file
# sudo reads no file with a dot in its name, so it never reads half of this one.
coming=/etc/sudoers.d/.$file.new

[ "$(id -u "$user")" != 0 ] || exit 0
# include output.sh

need sudo visudo

version=$(sudo -V | sed -n '1s/^Sudo version \([0-9.]*\).*/\1/p')
oldest=$(printf '1.9.10\n%s\n' "${version:-0}" | sort -V | head -n 1)
if [ "$oldest" != 1.9.10 ]; then
    note "no sudoers file: it takes sudo 1.9.10 or newer, here is $(sudo -V | head -n 1); see docs/security.md"
    exit 0
fi

# Who is let in without a password stays so: a rule that asks for one, put after his, could lock us out.
tag=NOPASSWD
if [ "$asks" = asks ] && ! runuser -u "$user" -- sudo -n true 2>/dev/null; then tag=PASSWD; fi

[ -d /etc/sudoers.d ] || fail sudoers 'there is no folder /etc/sudoers.d; is this sudo set up another way?'
trap 'rm -f "$coming"' EXIT
sed "s/@TAG@/$tag/" >"$coming"
chown root:root "$coming"
chmod 0440 "$coming"
said=$(visudo -cf "$coming" 2>&1) || fail_showing sudoers "visudo does not accept $place" "$said"
if ! cmp -s "$coming" "$place" || [ "$(stat -c '%a %u %g' "$place")" != '440 0 0' ]; then
    sync "$coming"
    mv -f "$coming" "$place"
    emit changed "wrote $place"
fi
emit provisioned
