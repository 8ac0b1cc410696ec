# The second half of table.awk: what became of the targets.
# A line of the file `targets`: VALUE | BESIDE | at-most or at-least BOUND | what it is. VALUE / BESIDE is held to the
# bound. Each of the two is "min" or "max" of several terms, or one; a term is a figure's id, a number, or
# FACTOR*id. What was not measured is left out of a min or max; a target with nothing left is not measured,
# which is not worth a line if only some groups were (`partial`).
function term(text,    factor, star) {
	factor = 1
	if ((star = index(text, "*"))) {
		factor = substr(text, 1, star - 1)
		text = substr(text, star + 1)
	}
	if (text ~ /^[0-9.]+$/)
		return factor * text
	return text in median ? factor * median[text] : ""
}

function side(text,    n, i, parts, best, v, which) {
	n = split(text, parts, " ")
	which = parts[1] ~ /^(min|max)$/ ? parts[1] : ""
	best = ""
	for (i = which ? 2 : 1; i <= n; i++) {
		v = term(parts[i])
		if (v != "" && (best == "" || (which == "max" ? v > best : v < best)))
			best = v
	}
	return best
}

function tell_target(what, value, beside, relation, bound,    ratio, verdict) {
	if (partial && (value == "" || beside == ""))
		return
	if (value == "" || beside == "" || beside == 0) {
		verdict = "not measured"
		ratio = ""
	} else {
		ratio = value / beside
		verdict = (relation == "at-most" ? ratio <= bound : ratio >= bound) ? "met" : "MISSED"
	}
	printf "%-12s %10s %s %-8s %s\n", verdict, ratio == "" ? "-" : sprintf("%.3f", ratio),
		relation == "at-most" ? "<=" : ">=", bound, what
	printf "%s\n    {\"what\": %s, \"relation\": %s, \"bound\": %s, \"ratio\": %s, \"verdict\": %s}",
		target_separator, quote(what), quote(relation), bound, ratio == "" ? "null" : ratio "",
		quote(tolower(verdict)) >json
	target_separator = ","
	verdicts[verdict]++
}

function tell_targets(    line, field, part) {
	printf "\ntargets: of the medians above\n"
	while ((getline line <targets) > 0) {
		if (line ~ /^[ \t]*(#|$)/)
			continue
		split(line, field, / *\| */)
		split(field[3], part, " ")
		tell_target(field[4], side(field[1]), side(field[2]), part[1], part[2])
	}
	printf "%d met, %d missed, %d not measured\n", verdicts["met"], verdicts["MISSED"], verdicts["not measured"]
}
