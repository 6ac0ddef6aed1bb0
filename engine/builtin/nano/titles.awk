# Second stage of make_nano.sh: every other row keeps its verse as it is; in the others each stanza (at most six lines) gets a line in front that says what it is
# about: one or two of its own less common words. So the model learns to write towards a subject. Reads the rows twice:
#     awk -f titles.awk pass=1 train.jsonl pass=2 train.jsonl
function words_of(line, out,    n, i, k, w) {
    line = tolower(line)
    gsub(/\\./, " ", line)
    n = split(line, raw, /[^a-z]+/)
    k = 0
    for (i = 1; i <= n; i++)
        if (raw[i] != "") out[++k] = raw[i]
    return k
}
# The rarest word of the stanza that is no stranger, with the article before it.
function pick(avoid,    i, best, at) {
    best = 9000
    at = 0
    for (i = 1; i <= n_words; i++)
        if (length(word[i]) >= 4 && count[word[i]] >= 60 && count[word[i]] < best && word[i] != avoid) {
            best = count[word[i]]
            at = i
        }
    if (!at) return ""
    picked = word[at]
    if (at > 1 && word[at - 1] ~ /^(the|a|an|my|her|his|old|little|white|dark|green)$/) return word[at - 1] " " picked
    return picked
}
function stanza_out(    first, one, two, title) {
    if (n_lines >= 2) {
        one = pick("")
        if (one != "") {
            first = picked
            two = pick(first)
            serial++
            if (serial % 4 == 0 && two != "") title = "A song of " one " and " two "."
            else if (serial % 4 == 1) title = "About " one "."
            else if (serial % 4 == 2) title = one
            else title = "Of " one "."
            text = text title "\\n\\n" lines "\\n"
        } else text = text lines "\\n"
    } else if (n_lines > 0) text = text lines "\\n"
    n_lines = n_words = 0
    lines = ""
}
{
    body = substr($0, 11, length($0) - 12) # between {"text": " and "}
    gsub(/\\n/, "\n", body)
    n = split(body, line, "\n")
}
pass == 1 {
    for (i = 1; i <= n; i++) {
        k = words_of(line[i], w)
        for (j = 1; j <= k; j++) count[w[j]]++
    }
    next
}
++row % 2 { print; next }
{
    text = ""
    for (i = 1; i <= n; i++) {
        if (line[i] == "" || n_lines == 6) stanza_out()
        if (line[i] == "") continue
        lines = lines line[i] "\\n"
        n_lines++
        k = words_of(line[i], w)
        for (j = 1; j <= k; j++) word[++n_words] = w[j]
    }
    stanza_out()
    print "{\"text\": \"" text "\"}"
}
