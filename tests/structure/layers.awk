# Reads lib/LAYERS, then sources; complains of every #include that it does not allow.

function complain(what, remedy) {
	printf "%s:%d: %s\n\t%s\n", FILENAME, FNR, what, remedy
	wrong++
}

# The first part of a path: the layer, when the path is relative to lib/.
function first(path) { sub(/\/.*/, "", path); return path }

BEGIN { rules = ARGV[1] }

FILENAME == rules {
	sub(/#.*/, "")
	if (NF == 0)
		next
	if ($1 == "!") {
		only[$2] = $3
		next
	}
	for (i = 2; i <= NF; i++) {
		if ($i == "-")
			continue
		if (!($i in layer))
			complain("layer " $1 " may include " $i ", which is not above it", \
			         "the graph has no circles: a layer may name only layers of earlier lines")
		may[$1, $i] = 1
	}
	layer[$1] = may[$1, $1] = 1
	next
}

FNR == 1 {
	files++
	public = FILENAME ~ /^include\//
	own = public ? "" : first(substr(FILENAME, 5))
	if (!public && !(own in layer))
		complain("the folder lib/" own " is no layer", "give it a line in lib/LAYERS")
}

!/^[ \t]*#[ \t]*include/ { next }

{
	quoted = match($0, /"[^"]*"/)
	if (!quoted && !match($0, /<[^>]*>/)) {
		complain("an #include that cannot be read: " $0, "write it as <system.h> or \"layer/file.h\"")
		next
	}
	header = substr($0, RSTART + 1, RLENGTH - 2)
	to = first(header)
}

quoted && public {
	complain("a public header includes \"" header "\"", \
	         "public headers include only <vdb/...> and system headers: they must work when installed")
	next
}

quoted {
	if (to == ".." || to == "." || to == header || !(to in layer))
		complain("\"" header "\" does not name a layer", "write it from lib/ on: \"layer/file.h\"")
	else if (!((own, to) in may))
		complain("layer " own " may not include \"" header "\"", \
		         "lib/LAYERS does not list " to " for " own ": pass what you need in (a function, an fd), " \
		         "or move the code to the layer that it belongs to")
	next
}

(header in only) && own != only[header] {
	complain((public ? "a public header" : "layer " own) " includes <" header ">", \
	         "only lib/" only[header] " may see it: put the code there, and offer what is needed in its header")
}

END {
	if (!files) {
		print "no sources: nothing was checked"
		wrong++
	}
	exit wrong > 0
}
