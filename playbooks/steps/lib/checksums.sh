# shellcheck shell=sh
# SHA-256 of many bytes: openssl uses the processor's own instructions for it, and is four times as fast as sha256sum. For
# few bytes the programs it takes cost more. What it writes is made to look like what sha256sum does.

many_kb=8193

# fast_sums KILOBYTES: whether it is worth it.
fast_sums() { [ "$1" -ge "$many_kb" ] && command -v openssl >/dev/null; }

# sum_stdin KILOBYTES: prints "HASH …".
sum_stdin() {
    if fast_sums "$1"; then openssl dgst -sha256 -r; else sha256sum; fi
}

# sum_files KILOBYTES: of the files whose names come on standard input, each ended by NUL; "HASH  name", a line each.
# sha256sum writes a name with a backslash in its own way, so it is not mixed with the other.
sum_files() {
    if fast_sums "$1"; then xargs -0 -r openssl dgst -sha256 -r | sed 's/ \*/  /'; else xargs -0 -r sha256sum; fi
}

# check_sums MANIFEST KILOBYTES: whether files are as such lines say.
check_sums() {
    if fast_sums "$2" && ! grep -q '^[\\]' "$1"; then
        cut -c67- "$1" | tr '\n' '\0' | sum_files "$2" 2>/dev/null | cmp -s - "$1"
    else
        sha256sum --check --quiet --strict "$1" >/dev/null 2>&1
    fi
}
