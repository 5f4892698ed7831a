# shellcheck shell=sh disable=SC2154
# Each line of a program's output is reported by itself, because a stack trace or a compiler's output is of no use in one line.

output_lines=12
output_characters=300

# tell_output TEXT: emit the last lines that are not blank, a record for each, and set last_line to the last one. A line that is
# alone gets no record, because it is in the sentence already.
tell_output() {
    output_told=$(printf '%s\n' "$1" | tr -d '\000\r' | sed '/^[[:space:]]*$/d' | tail -n "$output_lines" | cut -c "1-$output_characters")
    last_line=${output_told##*"$newline"}
    output_alone=no
    [ "$output_told" != "$last_line" ] || output_alone=yes
    # In a sentence the line is not indented.
    last_line=${last_line#"${last_line%%[! ]*}"}
    [ "$output_alone" = no ] || return 0
    while IFS= read -r output_line; do emit log "$output_line"; done <<END_OF_OUTPUT
$output_told
END_OF_OUTPUT
}

# fail_showing CODE SENTENCE TEXT: end the step with a sentence and the end of a program's output.
fail_showing() {
    tell_output "$3"
    fail "$1" "$2${last_line:+: $last_line}"
}
