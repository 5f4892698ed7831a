# shellcheck shell=sh disable=SC2154
# Why a fetch failed, as a sentence, and whether another try may do better. See fetch.sh.

# explain_http STATUS: says why; ends the step where another try would hear the same.
explain_http() {
    # The name that S3-style stores have for it; the rest of their answer may repeat what was signed.
    fetch_name=$(tr '\n' ' ' <"$fetch_file.answer" 2>/dev/null | sed -n 's/.*<Code>\([A-Za-z0-9]\{1,60\}\)<.*/ \1/p')
    ! grep -qi 'expired' "$fetch_file.answer" 2>/dev/null || fetch_name="$fetch_name, expired"
    fetch_code=fetch
    case $1 in
        401 | 403)
            fetch_fails fetch-refused "the server refuses it (HTTP $1$fetch_name): the signature or the credentials have expired or are wrong"
            ;;
        404 | 410) fetch_fails fetch-gone "it is not there (HTTP $1$fetch_name)" ;;
        416) fetch_fails fetch-gone 'there is nothing in it (HTTP 416)' ;;
        408 | 425 | 429 | 5??) fetch_why="the server has trouble (HTTP $1$fetch_name)" ;;
        *) fetch_fails fetch "the server answers HTTP $1$fetch_name" ;;
    esac
}

# explain_curl STATUS: the same for what curl(1) ends with.
explain_curl() {
    server "$fetch_at"
    fetch_code=fetch
    case $1 in
        6) fetch_why="the name in $fetch_server cannot be resolved" ;;
        7) fetch_why="$fetch_server refuses the connection, or there is no way to it" ;;
        28) fetch_why="$fetch_server does not answer, or sends nothing" ;;
        23)
            ! lacks_room "$fetch_folder" || fetch_code=no-space
            [ "$fetch_code" = no-space ] || said="cannot write to $fetch_folder"
            # A part that fills the disk is in everybody's way.
            drop_part
            fetch_fails "$fetch_code" "$said"
            ;;
        35) fetch_why="TLS with $fetch_server fails: $(curl_said)" ;;
        5? | 60 | 64 | 66 | 77 | 8? | 9[01])
            case $1 in 52 | 55 | 56) fetch_why="the connection to $fetch_server broke" ;;
                *) fetch_fails fetch-tls "TLS with $fetch_server fails: $(curl_said)" ;; esac
            ;;
        16 | 18 | 92) fetch_why="the connection to $fetch_server broke" ;;
        1 | 3) fetch_fails fetch "curl cannot read this URL" ;;
        *) fetch_why="curl ends with status $1" ;;
    esac
    case $1 in 16 | 18 | 28 | 5? | 92) fetch_why="$fetch_why after $(fetched) bytes" ;; esac
}
curl_said() { sed -n '1s/^curl: ([0-9]*) //p' "$fetch_file.err" | cut -c1-160; }
