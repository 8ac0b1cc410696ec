# usage: fio --minimal ... | awk -v name=NAME -f fio.awk
# Rows of what fio says: the 8th field of its terse output is the reads per second, the 49th the writes.
BEGIN { FS = ";" }

NF > 49 {
	printf "fio/%s/rate %s 1/s fio with io_uring on the same file: %s\n", name, $8 + $49, name
}
