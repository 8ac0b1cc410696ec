# awk -v device=NAME -v key=KEY -f counted.awk stats.json: the sum of KEY over all that tinyvmm says of the
# device; -v queue=N: of that queue only.
BEGIN { FS = "[\": ,\t]+" }
$2 == "name" { on = $3 == device; of = "" }
$2 == "queue" { of = $3 }
on && $2 == key && (queue == "" || of == queue) { sum += $3 }
END { print sum + 0 }
