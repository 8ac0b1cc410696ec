# What the demo's tests share. Each gets the folder of the built programs in $1.
set -u
export LC_ALL=C
tinyvmm=$1/examples/tinyvmm/tinyvmm
check_image=$1/tests/demo/check_image
[ -e /dev/kvm ] || { echo "no /dev/kvm on this host"; exit 77; }
[ -r /dev/kvm ] && [ -w /dev/kvm ] || { echo "no permission for /dev/kvm"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "FAILED: $*"
	[ ! -s "$work/out" ] || tail -n 20 "$work/out"
	[ ! -s "$work/err" ] || tail -n 20 "$work/err"
	exit 1
}

# Runs `tinyvmm demo` with these options; it must succeed.
demo() {
	timeout 500 "$tinyvmm" demo "$@" >"$work/out" 2>"$work/err" || fail "tinyvmm demo $*: status $?"
}

# Field $1 of the table's line $2 (a VM's number, or total), from the right: the
# line of the total has fewer columns.
column() {
	awk -v from_end="$1" -v name="$2" '$1 == name { print $(NF - from_end) }' "$work/out"
}
col_rung=6 col_irqs=4 col_exits=3 col_errors=0
