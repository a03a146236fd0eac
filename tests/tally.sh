# shellcheck shell=sh disable=SC2154
# Sourced by the test scripts: a line per check, and the count that tests/check.sh adds up. They set $work, a scratch folder.
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
# check NAME COMMAND...: ok when the command succeeds; else its output is shown. It runs in this shell.
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
# The last line of a script, and its exit status.
tally() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
