# shellcheck shell=sh disable=SC2154
# The test scripts source this: it prints a line per check, and counts for tests/check.sh. They set $work, a scratch
# folder.
passed=0 failed=0 skipped=0

ok() {
    passed=$((passed + 1))
    echo "ok $1"
}
fail() {
    failed=$((failed + 1))
    echo "FAIL $1"
}
skip() {
    skipped=$((skipped + 1))
    echo "skip $1"
}
# check NAME COMMAND...: ok if the command succeeds; else shows its output. Runs in this shell.
check() {
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        ok "$what"
    else
        fail "$what"
        tail -n 20 "$work/output" | sed 's/^/     /'
    fi
}
# Prints the last line of a script; its status is the script's exit status.
tally() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
