# Counts what `conntrack -L -o extended` prints by what the agent counts entries by: family, protocol, state, status, NAT, zone.
{
    protocol = $3 == "unknown" ? $4 : $3
    state = ($3 == "tcp" || $3 == "sctp") ? tolower($6) : "-"
    split("", first); split("", second); zone = 0; status = "replied"
    for (i = 5; i <= NF; i++) {
        if ($i == "[UNREPLIED]") { status = "unreplied" }
        if ($i == "[ASSURED]") { status = "assured" }
        if (split($i, pair, "=") != 2) { continue }
        if (pair[1] ~ /^zone/) { zone = pair[2] }
        if (pair[1] in first) { second[pair[1]] = pair[2] } else { first[pair[1]] = pair[2] }
    }
    source = first["src"] != second["dst"] || (("sport" in first) && first["sport"] != second["dport"])
    destination = first["dst"] != second["src"] || (("dport" in first) && first["dport"] != second["sport"])
    nat = source && destination ? "both" : source ? "source" : destination ? "destination" : "none"
    count[$1 " " protocol " " state " " status " " nat " " zone]++
}
END { for (class in count) print class, count[class] }
