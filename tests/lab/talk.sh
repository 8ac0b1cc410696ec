# Sourced by the scripts of tests/lab/inside, which run in L1: a guest (L2) that does what it is told, and checks
# with names. $TINYVMM and $PEER (tests/lab/peer.c) are programs, /guest has what the guest boots.
# FULL=yes asks for the sizes that take long.
work=/tmp/inside
mkdir -p $work
cd $work || exit 1
failed=0
patience=120 # seconds for one answer
addresses=10.77.0

# ---- Checks ----

no()
{
	echo "$*"
	exit 1
}

# same WHAT IS SHOULD
same()
{
	[[ $2 == "$3" ]] || no "$1 is '$2', not '$3'"
}

# more WHAT IS THAN
more()
{
	(($2 > $3)) || no "$1 is $2, not more than $3"
}

# few WHAT IS MOST
few()
{
	(($2 <= $3)) || no "$1 is $2, more than $3"
}

# sized SMALL LARGE: the one or the other, as FULL says.
sized()
{
	[[ -n ${FULL-} ]] && echo "$2" || echo "$1"
}

# check NAME: runs check_NAME in a shell of its own, which ends at the first thing that fails. What it says of
# interest starts with `lab: `.
check()
{
	local began=$SECONDS status

	(
		set -e
		check_"$1"
	) >said 2>&1 </dev/null
	status=$?
	if ((status)); then
		failed=1
		echo "FAIL $1: status $status"
		tail -n 60 said | sed 's/^/    /'
	else
		grep '^lab: ' said | sed 's/^/    /'
		echo "pass $1 ($((SECONDS - began)) s)"
	fi
}

# until_true WHAT COMMAND...: tries it until it succeeds.
until_true()
{
	local what=$1 i

	shift
	for ((i = 0; i < patience * 10; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	no "it does not come about that $what"
}

# ---- The guest ----

# guest_start OPTION...: of `tinyvmm run`; comes back when the guest takes commands.
guest_start()
{
	local words=""

	[[ $* != *mmio* ]] || words="lab.irq=mmio" # tests/lab/words.sh
	rm -f in out stats.json dead
	mkfifo in out
	exec {to}<>in
	"$TINYVMM" run --kernel /guest/vmlinux --initrd /guest/guest.cpio --memory 256M --console --timeout 1200 \
		--json-stats stats.json --cmdline "quiet $words" "$@" <in >out 2>vmm.log &
	vmm=$!
	exec {from}<out
	if ! (answer) >boot.log; then
		failed=1
		echo "FAIL start $*"
		sed 's/^/    /' vmm.log boot.log
		return 1
	fi
	echo "pass start $*: $(sed -n 's/^lab: up after/init after/p' boot.log)"
}

# What the guest says, until it has said the status of its command, which is ours. All is read before any
# is passed on: a reader that has seen enough must not leave the rest for the next command.
answer()
{
	local line text="" status

	[[ ! -e dead ]] || no "the guest is not there any more"
	while IFS= read -r -t "$patience" -u "$from" line; do
		line=${line%$'\r'}
		if [[ $line == 'lab: status '* ]]; then
			status=${line#lab: status }
			printf '%s' "$text" || :
			return "$status"
		fi
		text+=$line$'\n'
	done
	: >dead
	printf '%s' "$text"
	cat vmm.log
	tell_vmm
	no "the guest says nothing any more"
}

# What tinyvmm's threads do, twice, and what it has counted: whose fault it is that nothing goes on.
tell_vmm()
{
	local task turn

	for turn in 1 2; do
		for task in "/proc/$vmm/task/"*; do
			echo "thread $(cat "$task/comm"): state, ticks: $(cut -d ' ' -f 3,14,15 "$task/stat") $(cat "$task/wchan")"
		done 2>/dev/null
		sleep 2
	done
	patience=10
	(stats) && tr -d ' \n' <stats.json | sed 's/"[a-z_]*":0,//g' | fold -w 200
	echo
}

# guest COMMAND: its shell runs that; its output, its status.
guest()
{
	printf '%s\n' "$*" >&"$to"
	answer
}

# guest_background COMMAND: the same, but leaves the guest alone with it. `guest_wait` comes back when it has ended.
guest_background()
{
	guest "(set -e; $*) >/tmp/background 2>&1 </dev/null & echo \$! >/tmp/pid"
}

guest_wait()
{
	guest 'while [ -d /proc/$(cat /tmp/pid) ]; do usleep 100000; done; cat /tmp/background'
}

# guest_end COMMAND STATUS: the guest's last; what it must mean for tinyvmm.
guest_end()
{
	local status=0

	printf '%s\n' "$1" >&"$to"
	timeout "$patience" cat <&"$from" >end.log || kill -KILL "$vmm"
	wait "$vmm" || status=$?
	exec {to}>&- {from}<&-
	((status == $2)) && [[ -s stats.json ]] && return
	failed=1
	echo "FAIL end: the status of tinyvmm is $status, not $2"
	cat vmm.log end.log | sed 's/^/    /'
}

# stats: tinyvmm writes stats.json now. It may be looked at before it is whole. It stays the file that tinyvmm has
# opened when it started: in its sandbox it opens no other.
stats()
{
	: >stats.json
	kill -USR1 "$vmm"
	until_true "there are statistics" eval '[[ $(tail -n 1 stats.json) == "}" ]]'
}

# counted DEVICE KEY [QUEUE]: of stats.json.
counted()
{
	awk -v device="$1" -v key="$2" -v queue="${3-}" -f /guest/counted.awk stats.json
}

# turns: how often the loops have looked for work.
turns()
{
	stats
	sed -n 's/.*"turns": *\([0-9]*\).*/\1/p' stats.json
}

# data: memory that tinyvmm has asked for, in KiB: the guest's is all of it from the start, so what grows is its own.
data()
{
	sed -n 's/^VmData:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$vmm/status"
}

# memory: what tinyvmm has of the host, in KiB, with all that the guest has ever touched.
memory()
{
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$vmm/status"
}

# The guest's kernel complains of nothing.
check_dmesg()
{
	guest check_dmesg
}
