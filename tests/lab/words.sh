# Sourced in guests in the lab, by tests/lab/checks.sh and tests/lab/agent.sh: how a check says what is wrong,
# and what the kernel may complain of.

# word NAME: its value on the command line.
word()
{
	sed -n "s/.*\blab\.$1=\([^ ]*\).*/\1/p" /proc/cmdline
}

no()
{
	echo "$*"
	exit 1
}

# same WHAT IS SHOULD
same()
{
	[ "$2" = "$3" ] || no "$1 is '$2', not '$3'"
}

more()
{
	[ "$2" -gt 0 ] || no "$1 is '$2', not more than 0"
}

# check NAME: runs check_NAME in a shell of its own, which ends at the first thing that fails.
check()
{
	local start=$(date +%s) said status

	said=$(set -e; "check_$1" 2>&1)
	status=$?
	if [ $status = 0 ]; then
		[ -z "$said" ] || echo "$said" | grep '^lab: '
		echo "lab: ok $1 ($(($(date +%s) - start)) s)"
	else
		echo "lab: FAIL $1: status $status, $(echo "$said" | tail -n 9 | tr '\n' '|')"
	fi
}

# ---- What the kernel says ----

# Of warnings and worse, these are not about our devices, tables or clock:
# - The emulated machine is slow, and has no constant TSC, which Linux wants of two CPUs of AMD.
# - There is no mouse, and the table of devices says so. Linux is not sure whether that is meant.
# - Debian's kernel has its console driver for hvc0 as a module.
# - A machine with mmio devices only has no PCI at all, which Linux calls fatal, and goes on.
# - Without ACPI, Debian's kernel, which reads no MP table, knows of no CPU and no INTx: MSI-X remains.
allowed()
{
	local without='^$'

	[ "$(word irq)" != mmio ] ||
		without='^PCI: (Fatal: No config space access function found|System does not support PCI)$'
	[ "$(word acpi)" != off ] ||
		without="A valid RSDP was not found|Boot CPU .* not listed by BIOS|can't find IRQ for PCI INT A"
	grep -vE \
		-e '^hrtimer: interrupt took [0-9]+ ns$' \
		-e '^clocksource: Long readout interval, skipping watchdog check' \
		-e '^clocksource: timekeeping watchdog on CPU[0-9]*: .* read-back delay of [0-9]*ns' \
		-e '^clocksource: wd-.*-wd .*delay' \
		-e '^tsc: Marking TSC unstable due to (TSCs unsynchronized|clocksource watchdog)$' \
		-e '^i8042: PNP: PS/2 appears to have AUX port disabled' \
		-e '^Warning: unable to open an initial console\.$' \
		-e "$without"
}

# By the level (what is written to /dev/kmsg has two digits), or by the words if they are about us.
check_dmesg()
{
	local ours='virtio|vd[a-d]|hvc|ttyS|hwrng|pci|acpi|msi|apic|clock|tsc|timer|rtc|i8042|irq'
	local wrong='error|fail|invalid|broken|unable|cannot|bogus|conflict|overlap|mismatch|unstable'
	local always='Firmware (Bug|Warn)|BUG:|WARNING:|nobody cared|lockup|stall'

	dmesg -r | grep '^<[01234]>' | sed 's/^<.>\[[^]]*\] //' >/tmp/warnings || :
	dmesg | sed 's/^\[[^]]*\] //' | grep -E "$always" >>/tmp/warnings || :
	dmesg | sed 's/^\[[^]]*\] //' | grep -iE "($ours).*\b($wrong)" >>/tmp/warnings || :
	sort -u /tmp/warnings | allowed >/tmp/bad || :
	[ ! -s /tmp/bad ] || no "$(cat /tmp/bad)"
}
