# What the demo's tests share. Each gets the folder of the built programs in $1.
set -u
wrong=0
export LC_ALL=C
tinyvmm=$1/examples/tinyvmm/tinyvmm
check_image=$1/tests/demo/check_image
boot_guest=$1/tests/demo/boot_guest.elf
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

# refused WORDS ARGUMENT...: tinyvmm must end with status 2 and one line that has WORDS. Counts in `wrong`.
refused() {
	words=$1
	shift
	timeout 60 "$tinyvmm" "$@" >"$work/out" 2>"$work/err"
	status=$?
	if [ $status != 2 ]; then
		echo "tinyvmm $*: status $status, not 2"
		wrong=1
	elif ! grep -q -- "$words" "$work/err"; then
		echo "tinyvmm $*: does not say \"$words\" but: $(cat "$work/err")"
		wrong=1
	elif [ "$(wc -l <"$work/err")" != 1 ]; then
		echo "tinyvmm $*: more than one line: $(cat "$work/err")"
		wrong=1
	fi
}

# Field $1 of the table's line $2 (a VM's number, or total), from the right: the
# line of the total has fewer columns.
column() {
	awk -v from_end="$1" -v name="$2" '$1 == name { print $(NF - from_end) }' "$work/out"
}
col_rung=6 col_irqs=4 col_exits=3 col_errors=0

# Boots the guest of guest/boot.c with the words $1 on its command line; further arguments are tinyvmm's.
# Leaves the status in $status.
boot() {
	words=$1
	shift
	timeout 100 "$tinyvmm" run --kernel "$boot_guest" --timeout 60 --cmdline "$words" "$@" \
		>"$work/out" 2>"$work/err" </dev/null
	status=$?
}

# ends STATUS WORDS...: the last boot ended with this status, and stderr says WORDS.
ends() {
	[ "$status" = "$1" ] || fail "cmdline '$words': status $status, not $1"
	grep -q -- "$2" "$work/err" || fail "cmdline '$words': does not say \"$2\""
}

# says WORDS: the guest of the last boot.
says() {
	grep -q -- "$1" "$work/out" || fail "cmdline '$words': the guest does not say \"$1\""
}

# Starts a guest that never ends; $pid is tinyvmm.
start() {
	: >"$work/out"
	"$tinyvmm" run --kernel "$boot_guest" --timeout 100 --cmdline hang "$@" >"$work/out" 2>"$work/err" \
		</dev/null &
	pid=$!
	until_says out 'boot guest'
}

# until_says FILE WORDS: waits until the file has them.
until_says() {
	for i in $(seq 900); do
		! grep -qs -- "$2" "$work/$1" || return 0
		sleep 0.1
	done
	kill -9 "$pid"
	fail "$1 does not say: $2"
}
