# Makes a Markdown table, instructions for one operation, of what `cargo bench` prints here.

/^instructions::/ {
    split($1, path, "::")
    column = path[3]
    split($2, description, ":")
    row = description[1]
    if (!(column in columns)) { columns[column]; column_names[++column_count] = column }
    if (!(row in rows)) { rows[row]; row_names[++row_count] = row }
}

/Instructions:/ {
    split($2, counts, "|")
    cells[row, column] = sprintf("%.0f", counts[1] / 1000)
}

END {
    if (row_count == 0) { print "nothing was counted" > "/dev/stderr"; exit 1 }
    header = "| instructions |"
    line = "| --- |"
    for (c = 1; c <= column_count; c++) {
        header = header " " column_names[c] " |"
        line = line " ---: |"
    }
    print header
    print line
    for (r = 1; r <= row_count; r++) {
        text = "| " row_names[r] " |"
        for (c = 1; c <= column_count; c++) {
            cell = cells[row_names[r], column_names[c]]
            text = text " " (cell == "" ? "–" : cell) " |"
        }
        print text
    }
}
