# Sourced by the init of a guest in the lab (lab/guest-init): does what tests/lab/talk.sh tells it to, a line
# a command, each in a shell of its own that ends at the first thing that fails.
. /words.sh

stty -echo -onlcr
echo "lab: up after $up s"
echo "lab: status 0"
while read -r line; do
	(
		set -e
		eval "$line"
	) </dev/null 2>&1
	echo "lab: status $?"
done
