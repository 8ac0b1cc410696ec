# usage: awk -v host= -v kernel= -v commit= -v date= -v load= -v json=FILE -f table.awk STEPS ROWS
# STEPS: one command a line, in the order of the table. ROWS: "id value unit what...<tab>command", one
# for each time that a figure was measured; a unit may be missing. Prints median, least and most
# of each figure, and writes the same with every single value to `json`.
BEGIN { FS = "\t" }

FNR == NR { steps[++step_count] = $0; next }

{
	n = split($1, word, " ")
	id = word[1]
	at = word[3] ~ /^(ns|ms|1\/s|KiB|%)$/ ? 4 : 3
	if (!(id in count)) {
		ids[++id_count] = id
		unit[id] = at == 4 ? word[3] : ""
		what[id] = ""
		for (i = at; i <= n; i++)
			what[id] = what[id] (i > at ? " " : "") word[i]
		command[id] = $2
	}
	value[id, ++count[id]] = word[2] + 0
}

function sort_values(id,    i, j, v) {
	for (i = 1; i <= count[id]; i++) {
		v = value[id, i]
		for (j = i - 1; j > 0 && sorted[j] > v; j--)
			sorted[j + 1] = sorted[j]
		sorted[j + 1] = v
	}
}

function median(n) {
	return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function number(v) {
	return v < 100 ? sprintf("%.3f", v) : sprintf("%.0f", v)
}

function quote(text) {
	gsub(/[\\"]/, "\\\\&", text)
	return "\"" text "\""
}

function row(id,    i, n, values) {
	n = count[id]
	sort_values(id)
	printf "%-30s %12s %12s %12s %-4s %s\n", id, number(median(n)), number(sorted[1]), number(sorted[n]),
		unit[id], what[id]
	for (i = 1; i <= n; i++)
		values = values (i > 1 ? ", " : "") value[id, i]
	printf "%s\n    {\"id\": %s, \"unit\": %s, \"what\": %s, \"median\": %s, \"min\": %s, \"max\": %s,\n" \
		"     \"values\": [%s],\n     \"command\": %s}", separator, quote(id), quote(unit[id]),
		quote(what[id]), median(n) "", sorted[1] "", sorted[n] "", values, quote(command[id]) >json
	separator = ","
}

END {
	CONVFMT = OFMT = "%.15g"
	printf "host:   %s\nkernel: %s\ncommit: %s\ndate:   %s, load %s at the start\n\n", host, kernel, commit,
		date, load
	printf "{\n  \"host\": %s, \"kernel\": %s, \"commit\": %s, \"date\": %s, \"load\": %s,\n  \"rows\": [",
		quote(host), quote(kernel), quote(commit), quote(date), quote(load) >json
	printf "%-30s %12s %12s %12s %-4s %s\n", "figure", "median", "least", "most", "unit", "what"
	for (s = 1; s <= step_count; s++) {
		for (i = 1; i <= id_count; i++)
			if (command[ids[i]] == steps[s])
				row(ids[i])
		printf "    # %s\n", steps[s]
	}
	printf "\n  ]\n}\n" >json
}
