# shellcheck shell=sh
# SHA-256 of many bytes: openssl uses the processor's own instructions and is four times as fast as sha256sum. For few bytes
# starting the programs costs more. The output has the format of sha256sum.

many_kb=8193

# fast_sums KILOBYTES: whether openssl is faster for that much.
fast_sums() { [ "$1" -ge "$many_kb" ] && command -v openssl >/dev/null; }

# sum_stdin KILOBYTES: print the checksum of standard input: "HASH …".
sum_stdin() {
    if fast_sums "$1"; then openssl dgst -sha256 -r; else sha256sum; fi
}

# sum_files KILOBYTES: print a line "HASH  name" for each file whose name is on standard input, each ended by NUL. sha256sum
# escapes a name with a backslash, so both programs are never used for one list.
sum_files() {
    if fast_sums "$1"; then xargs -0 -r openssl dgst -sha256 -r | sed 's/ \*/  /'; else xargs -0 -r sha256sum; fi
}

# check_sums MANIFEST KILOBYTES: whether files have the checksums of these lines.
check_sums() {
    if fast_sums "$2" && ! grep -q '^[\\]' "$1"; then
        cut -c67- "$1" | tr '\n' '\0' | sum_files "$2" 2>/dev/null | cmp -s - "$1"
    else
        sha256sum --check --quiet --strict "$1" >/dev/null 2>&1
    fi
}
