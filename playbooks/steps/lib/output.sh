# shellcheck shell=sh disable=SC2154
# What a program wrote is told a line each: a stack trace or a compiler's words are no use in one line.

output_lines=12
output_characters=300

# tell_output TEXT: the last lines of it that say something, a record each; set last_line to the last one. One that is alone is
# no record: it is in the sentence already.
tell_output() {
    output_told=$(printf '%s\n' "$1" | tr -d '\000\r' | sed '/^[[:space:]]*$/d' | tail -n "$output_lines" | cut -c "1-$output_characters")
    last_line=${output_told##*"$newline"}
    output_alone=no
    [ "$output_told" != "$last_line" ] || output_alone=yes
    # In the sentence it is not indented.
    last_line=${last_line#"${last_line%%[! ]*}"}
    [ "$output_alone" = no ] || return 0
    while IFS= read -r output_line; do emit log "$output_line"; done <<END_OF_OUTPUT
$output_told
END_OF_OUTPUT
}

# fail_showing CODE SENTENCE TEXT: end the step, saying why, with the end of what a program wrote.
fail_showing() {
    tell_output "$3"
    fail "$1" "$2${last_line:+: $last_line}"
}
