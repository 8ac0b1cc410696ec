# usage: awk -v host= -v kernel= -v commit= -v date= -v load= -v command= -v json=FILE -v medians=FILE
#	-v targets=FILE -v partial=0|1 -f table.awk -f targets.awk STEPS ROWS
# STEPS: one command a line, in the order of the table. ROWS: "id value unit what...<tab>command", one
# for each time that a figure was measured; a unit may be missing. Prints median, least and most
# of each figure and what became of the targets (see targets.awk), and writes the same with every single value
# to `json`; to `medians`, "id median least most" for plots.
BEGIN { FS = "\t" }

FNR == NR { steps[++step_count] = $0; next }

{
	n = split($1, word, " ")
	id = word[1]
	at = word[3] ~ /^(ns|us|ms|s|1\/s|B|KiB|MiB|MB\/s|%|Ir)$/ ? 4 : 3
	if (!(id in count)) {
		ids[++id_count] = id
		unit[id] = at == 4 ? word[3] : ""
		what[id] = ""
		for (i = at; i <= n; i++)
			what[id] = what[id] (i > at ? " " : "") word[i]
		command_of[id] = $2
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

function middle(n) {
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
	median[id] = middle(n)
	printf "%-42s %12s %12s %12s %-4s %s\n", id, number(median[id]), number(sorted[1]), number(sorted[n]),
		unit[id], what[id]
	for (i = 1; i <= n; i++)
		values = values (i > 1 ? ", " : "") value[id, i]
	printf "%s\n    {\"id\": %s, \"unit\": %s, \"what\": %s, \"median\": %s, \"min\": %s, \"max\": %s,\n" \
		"     \"values\": [%s],\n     \"command\": %s}", separator, quote(id), quote(unit[id]),
		quote(what[id]), median[id] "", sorted[1] "", sorted[n] "", values, quote(command_of[id]) >json
	separator = ","
	print id, median[id] "", sorted[1] "", sorted[n] "" >medians
}

function step_rows(step,    i, rows) {
	for (i = 1; i <= id_count; i++)
		if (command_of[ids[i]] == step) {
			row(ids[i])
			rows++
		}
	print rows ? "    # " step : "    not measured # " step
}

END {
	CONVFMT = OFMT = "%.15g"
	printf "" >medians
	printf "host:    %s\nkernel:  %s\ncommit:  %s\ndate:    %s, load %s at the start\ncommand: %s\n\n", host, kernel,
		commit, date, load, command
	printf "{\n  \"host\": %s, \"kernel\": %s, \"commit\": %s, \"date\": %s, \"load\": %s,\n  \"command\": %s,\n" \
		"  \"rows\": [", quote(host), quote(kernel), quote(commit), quote(date), quote(load),
		quote(command) >json
	printf "%-42s %12s %12s %12s %-4s %s\n", "figure", "median", "least", "most", "unit", "what"
	for (s = 1; s <= step_count; s++)
		step_rows(steps[s])
	printf "\n  ],\n  \"targets\": [" >json
	tell_targets()
	printf "\n  ]\n}\n" >json
}
