# Sourced by the init of a guest in the lab (lab/guest-init): what Linux makes of tinyvmm's devices.
# tests/lab/matrix gives the disks, feeds the console and compares what is left on the images.
# Each check says `lab: ok NAME` or `lab: FAIL NAME: why`. Words of the kernel's command line:
#   lab.cpus=N lab.ring=split|packed lab.irq=msix|intx|mmio   what must be found
#   lab.acpi=on|off                                           off: see tests/lab/words.sh
#   lab.end=poweroff|reboot                                   how to end
mib=1048576

. /words.sh

# disk SERIAL: its name.
disk()
{
	local name

	for name in $(ls /sys/block); do
		[ "$(cat /sys/block/$name/serial 2>/dev/null)" = "$1" ] || continue
		echo $name
		return
	done
	no "no disk has the serial number '$1'"
}

sha()
{
	sha256sum | cut -d' ' -f1
}

forget()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# ---- The machine ----

check_machine()
{
	same nproc "$(nproc)" "$(word cpus)"
	same clocksource "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" kvm-clock
	for device in /sys/bus/virtio/devices/*; do
		same "VERSION_1 of ${device##*/}" "$(cut -c33 $device/features)" 1
		same "RING_PACKED of ${device##*/}" "$(cut -c35 $device/features)" \
			$([ "$(word ring)" = packed ] && echo 1 || echo 0)
	done
}

check_interrupts()
{
	case $(word irq) in
	msix) grep -q 'PCI-MSI.*virtio.-req.0' /proc/interrupts ;;
	intx) grep -q 'IO-APIC.*-fasteoi.*virtio' /proc/interrupts && ! grep -q PCI-MSI /proc/interrupts ;;
	mmio) grep -q 'IO-APIC.*virtio' /proc/interrupts ;;
	esac || no "$(grep virtio /proc/interrupts)"
}

# ---- The disk `rw`: 32 MiB ----

check_shape()
{
	local disk=$(disk rw) cpus=$(nproc)

	same size $(cat /sys/block/$disk/size) $((32 * mib / 512))
	same queues $(ls /sys/block/$disk/mq | wc -l) $((cpus < 2 ? cpus : 2))
	same ro $(cat /sys/block/$disk/ro) 0
	more discard_max_bytes $(cat /sys/block/$disk/queue/discard_max_bytes)
	more write_zeroes_max_bytes $(cat /sys/block/$disk/queue/write_zeroes_max_bytes)
	same cache_type "$(cat /sys/block/$disk/cache_type)" 'write back'
	same write_cache "$(cat /sys/block/$disk/queue/write_cache)" 'write back'
}

# Through the page cache and past it, each read back both ways.
check_write()
{
	local disk=/dev/$(disk rw) sum

	dd if=/dev/urandom of=/tmp/data bs=64k count=32
	sum=$(sha </tmp/data)
	dd if=/tmp/data of=$disk bs=64k oflag=direct
	dd if=/tmp/data of=$disk bs=64k seek=32 conv=fsync
	forget
	same 'direct, read cached' "$(dd if=$disk bs=64k count=32 | sha)" $sum
	forget
	same 'cached, read direct' "$(dd if=$disk bs=64k skip=32 count=32 iflag=direct | sha)" $sum
	# One sector, in the middle of what is there.
	dd if=/tmp/data of=$disk bs=512 seek=1001 count=1 skip=7 oflag=direct
	same 'one sector' "$(dd if=$disk bs=512 skip=1001 count=1 iflag=direct | sha)" \
		"$(dd if=/tmp/data bs=512 skip=7 count=1 | sha)"
}

# A MiB of writes, each read again and checked, on the MiBs 4 to 8.
check_fio()
{
	local disk=/dev/$(disk rw)

	fio --output=/tmp/fio --name=direct --filename=$disk --offset=4m --size=2m --rw=randrw --bs=4k \
		--ioengine=libaio --iodepth=16 --direct=1 --fsync=16 --verify=crc32c --verify_fatal=1 \
		--name=cached --filename=$disk --offset=6m --size=2m --rw=randrw --bsrange=512-32k --bs_unaligned=0 \
		--blockalign=512 --ioengine=psync --fdatasync=8 --verify=crc32c --verify_fatal=1 ||
		no "$(grep -iE 'verify|error|err=' /tmp/fio)"
	same 'jobs of fio without errors' $(grep -c 'err= 0' /tmp/fio) 2
}

# 16 MiB are written, 8 of them given back: matrix looks at the blocks of the image.
check_discard()
{
	local disk=/dev/$(disk rw)

	for at in 16 20 24 28; do
		dd if=/tmp/data of=$disk bs=1M count=2 seek=$at oflag=direct
		dd if=/tmp/data of=$disk bs=1M count=2 seek=$((at + 2)) oflag=direct
	done
	blkdiscard -o $((16 * mib)) -l $((8 * mib)) $disk
	forget
	same 'what is behind' "$(dd if=$disk bs=1M skip=24 count=2 iflag=direct | sha)" "$(sha </tmp/data)"
}

check_zeroes()
{
	local disk=/dev/$(disk rw)

	/sbin/blkdiscard -z -o $((26 * mib)) -l $mib $disk
	forget
	same 'what is zeroed' "$(dd if=$disk bs=1M skip=26 count=1 iflag=direct | sha)" \
		"$(dd if=/dev/zero bs=1M count=1 | sha)"
	same 'what is behind' "$(dd if=$disk bs=1M skip=27 count=1 iflag=direct | sha)" \
		"$(dd if=/tmp/data bs=1M skip=1 count=1 | sha)"
}

# Linux turns the write cache off: WCE in the device's configuration.
check_wce()
{
	local disk=$(disk rw)

	echo 'write through' >/sys/block/$disk/cache_type
	same cache_type "$(cat /sys/block/$disk/cache_type)" 'write through'
	same write_cache "$(cat /sys/block/$disk/queue/write_cache)" 'write through'
	dd if=/tmp/data of=/dev/$disk bs=64k count=1 seek=480 conv=fsync
	echo 'write back' >/sys/block/$disk/cache_type
	same cache_type "$(cat /sys/block/$disk/cache_type)" 'write back'
}

# The MiBs 0 to 8, which dd and fio have written, and 25 to 28, partly zeroed.
check_sum()
{
	local disk=/dev/$(disk rw)

	forget
	echo "lab: sum $( { dd if=$disk bs=1M count=8; dd if=$disk bs=1M skip=25 count=3; } 2>/dev/null | sha)"
}

# ---- The others ----

check_ext4()
{
	local disk=/dev/$(disk fs)

	mkfs.ext4 -q -E nodiscard $disk
	mount -t ext4 $disk /mnt
	mkdir /mnt/folder
	for i in 1 2 3 4; do
		dd if=/tmp/data of=/mnt/folder/$i bs=100k count=$((i * 3)) conv=fsync
	done
	(cd /mnt && sha256sum folder/* >/mnt/sums)
	# Not worth a checksum, but blocks to give back: matrix looks at them.
	dd if=/dev/zero of=/mnt/folder/zeroes bs=1M count=8 conv=fsync
	umount /mnt
	mount -t ext4 $disk /mnt
	(cd /mnt && sha256sum -c sums)
	rm -r /mnt/folder
	sync
	fstrim -v /mnt | grep -q '^/mnt: [1-9]'
	umount /mnt
	e2fsck -fn $disk
}

check_readonly()
{
	local disk=$(disk ro)

	same ro $(cat /sys/block/$disk/ro) 1
	same content "$(dd if=/dev/$disk bs=64k iflag=direct | sha)" "$(word ro)"
	! dd if=/tmp/data of=/dev/$disk bs=4k count=1 oflag=direct || no 'can be written'
	! blkdiscard /dev/$disk || no 'can be discarded'
}

check_grow()
{
	local disk=$(disk grow) before=$((4 * mib / 512)) after=$((6 * mib / 512)) i=0

	same 'size before' $(cat /sys/block/$disk/size) $before
	echo 'lab: grow me' >$console
	while [ $(cat /sys/block/$disk/size) = $before ]; do
		i=$((i + 1))
		[ $i -lt 300 ] || no 'does not grow'
		usleep 100000
	done
	same 'size after' $(cat /sys/block/$disk/size) $after
	dd if=/tmp/data of=/dev/$disk bs=64k count=32 seek=64 oflag=direct
	forget
	same 'the new end' "$(dd if=/dev/$disk bs=64k skip=64 | sha)" "$(sha </tmp/data)"
}

check_rng()
{
	same rng_current "$(cat /sys/class/misc/hw_random/rng_current)" virtio_rng.0
	dd if=/dev/hwrng of=/tmp/random bs=64 count=8
	same 'what hwrng gave' $(stat -c %s /tmp/random) 512
	# Of 512 random bytes a hundred different ones are less likely than anything.
	[ $(od -An -v -tx1 -w1 /tmp/random | sort -u | wc -l) -gt 100 ] || no 'not random'
}

check_console()
{
	local line

	echo 'lab: say something' >$console
	read -r -t 60 line <$console || no 'nobody says anything'
	echo "lab: heard $(echo "$line" | tr a-z A-Z)"
}

console=/dev/$console # lab/guest-init has set it
echo "lab: up after $up s"
for name in machine interrupts shape write fio discard zeroes wce sum ext4 readonly grow rng console dmesg; do
	check $name
done
echo "lab: done"
[ "$(word end)" != reboot ] || reboot -f
