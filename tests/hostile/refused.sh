# shellcheck shell=sh
# Checks refusals for run.sh and run_hot.sh, which source this. Gives them $work, a temporary folder.

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 faults=

# A sanitizer's report must not look like an ordinary exit status 1.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=99"
export LSAN_OPTIONS="${LSAN_OPTIONS:+$LSAN_OPTIONS:}exitcode=99"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}halt_on_error=1:exitcode=99"

# Runs a command; sets $status and $work/stderr.
attempt() {
    timeout -k 2 20 "$@" > /dev/null 2> "$work/stderr" < /dev/null
    status=$?
}

blame() {
    faults="$faults${faults:+; }$1"
}

# Checks that the last command ended with status 1 and a message that contains both texts; every message contains an
# empty text.
expect_refusal() {
    case $status in
    1) ;;
    0) blame "accepted" ;;
    124) blame "still running after 20 s" ;;
    *) blame "exit status $status" ;;
    esac
    [ -s "$work/stderr" ] || blame "no message"
    ! LC_ALL=C grep -q '[[:cntrl:]]' "$work/stderr" || blame "the message has control characters"
    for text in "$@"; do
        [ -z "$text" ] || grep -qF -e "$text" "$work/stderr" || blame "the message lacks '$text'"
    done
}

# Ends a case: prints one line.
result() {
    if [ -z "$faults" ]; then
        passed=$((passed + 1))
        echo "ok   $1"
    else
        failed=$((failed + 1))
        echo "FAIL $1: $faults"
        sed -n 's/^/     | /; 1,3p' "$work/stderr"
    fi
    faults=
}

summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
