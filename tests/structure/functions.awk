# Lists the functions that public headers declare: "name documented|bare file:line".
#
# It reads the house style, not all of C: a declaration ends with ; outside braces, and it
# is documented if a comment stands above it with no empty line between; a group of adjacent
# declarations shares the comment above the group. Static inline functions are not listed.

function forget() { text = ""; where = "" }

FNR == 1 { comment = directive = doc = depth = 0; forget() }

{
	line = $0
	if (directive || line ~ /^[ \t]*#/) { # and its continuation lines
		directive = line ~ /\\$/
		next
	}
	if (line ~ /^[ \t]*$/ && !comment) {
		if (!depth)
			doc = 0
		next
	}
	code = ""
	while (line != "") {
		if (comment) {
			end = index(line, "*/")
			if (!end)
				break
			line = substr(line, end + 2)
			comment = 0
			if (text == "" && code ~ /^[ \t]*$/)
				doc = 1
		} else {
			start = index(line, "/*")
			code = code (start ? substr(line, 1, start - 1) : line)
			line = start ? substr(line, start + 2) : ""
			comment = start > 0
		}
	}
	sub(/^[ \t]+/, "", code)
	sub(/[ \t]+$/, "", code)
	if (code == "" || code == "extern \"C\" {" || (code == "}" && !depth))
		next
	if (text == "")
		where = FILENAME ":" FNR
	text = text " " code
	depth += gsub(/{/, "{", code) - gsub(/}/, "}", code)
	if (depth)
		next
	if (text !~ /[{}]/ && text !~ /;$/) # goes on
		next
	if (text !~ /[{}]/ && text !~ /^ *(typedef|static|struct [a-z_0-9]+;)/ && match(text, /vdb_[a-z0-9_]+\(/))
		print substr(text, RSTART, RLENGTH - 1), (doc ? "documented" : "bare"), where
	forget()
}
