//! English forms: numbers, plurals, articles.

const DIGITS: [(char, u64); 13] = [
    ('零', 0),
    ('〇', 0),
    ('一', 1),
    ('二', 2),
    ('两', 2),
    ('三', 3),
    ('四', 4),
    ('五', 5),
    ('六', 6),
    ('七', 7),
    ('八', 8),
    ('九', 9),
    ('十', 10),
];

const WORDS: [&str; 13] =
    ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// Characters that numbers are written with.
pub(super) fn is_numeral(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '百' | '千' | '万') || DIGITS.iter().any(|(digit, _)| *digit == c)
}

/// The value of `十二`, `两百`, `12`; `None` for what is no number (`百`, `1一`).
pub(super) fn number(numeral: &[char]) -> Option<u64> {
    if numeral.iter().all(char::is_ascii_digit) {
        return numeral.iter().collect::<String>().parse().ok();
    }
    let (mut total, mut section, mut digit) = (0u64, 0u64, None);
    for &c in numeral {
        let unit = match c {
            '十' => 10,
            '百' => 100,
            '千' => 1000,
            '万' => 10_000,
            _ => {
                let value = DIGITS.iter().find(|(known, _)| *known == c)?.1;
                // `二三` (two or three) and years are no single number; zero only holds a place.
                if digit.is_some_and(|digit| digit != 0) {
                    return None;
                }
                digit = Some(value);
                continue;
            }
        };
        let count = match digit.take().filter(|digit| *digit != 0) {
            Some(digit) => digit,
            None if unit == 10 || section > 0 => 1,
            None => return None,
        };
        if unit == 10_000 {
            total = (section + count).checked_mul(unit)?;
            section = 0;
        } else {
            section += count * unit;
        }
    }
    total.checked_add(section)?.checked_add(digit.unwrap_or(0))
}

/// "two", "twelve", "37".
pub(super) fn number_word(value: u64) -> String {
    usize::try_from(value)
        .ok()
        .and_then(|at| WORDS.get(at))
        .map_or_else(|| value.to_string(), |word| (*word).to_owned())
}

const IRREGULAR: [(&str, &str); 34] = [
    ("man", "men"),
    ("woman", "women"),
    ("person", "people"),
    ("child", "children"),
    ("mouse", "mice"),
    ("goose", "geese"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("wolf", "wolves"),
    ("leaf", "leaves"),
    ("knife", "knives"),
    ("wife", "wives"),
    ("elf", "elves"),
    ("shelf", "shelves"),
    ("loaf", "loaves"),
    ("calf", "calves"),
    ("scarf", "scarves"),
    ("dwarf", "dwarves"),
    ("ox", "oxen"),
    ("cactus", "cacti"),
    ("potato", "potatoes"),
    ("tomato", "tomatoes"),
    ("hero", "heroes"),
    ("fish", "fish"),
    ("sheep", "sheep"),
    ("deer", "deer"),
    ("moose", "moose"),
    ("bison", "bison"),
    ("squid", "squid"),
    ("shrimp", "shrimp"),
    ("aircraft", "aircraft"),
    ("spacecraft", "spacecraft"),
    ("bamboo", "bamboo"),
    ("salmon", "salmon"),
];

/// The plural of a noun phrase: of its last word, of the word before "of", "with" …, or of a person before what they do.
pub(super) fn plural(phrase: &str) -> String {
    let words: Vec<&str> = phrase.split(' ').collect();
    let heads_end = |at: usize| {
        let before = words[at - 1];
        matches!(words[at], "of" | "with" | "in" | "on" | "and")
            || (words[at].ends_with("ing") && matches!(before, "person" | "man" | "woman" | "boy" | "girl"))
    };
    let head = (1..words.len()).find(|&at| heads_end(at)).unwrap_or(words.len()) - 1;
    let mut out: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    out[head] = plural_word(words[head]);
    out.join(" ")
}

/// "cups of": the plural of a measure.
pub(super) fn plural_of(measure: &str) -> String {
    match measure.strip_suffix(" of") {
        Some(noun) => format!("{} of", plural(noun)),
        None => plural(measure),
    }
}

fn plural_word(word: &str) -> String {
    for (one, many) in IRREGULAR {
        if let Some(stem) = word.strip_suffix(one)
            && (stem.is_empty()
                || matches!(one, "man" | "woman" | "child" | "fish" | "person") && !word.ends_with("human"))
        {
            return format!("{stem}{many}");
        }
    }
    if word.ends_with("ss")
        || word.ends_with('x')
        || word.ends_with("ch")
        || word.ends_with("sh")
        || word.ends_with('z')
    {
        return format!("{word}es");
    }
    if word.ends_with('s') || word.is_empty() {
        return word.to_owned();
    }
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{word}s"),
    }
}

/// "a" or "an" before a phrase, by its spelling.
pub(super) fn article(phrase: &str) -> &'static str {
    let lower = phrase.to_ascii_lowercase();
    let consonant = ["uni", "use", "one", "eu", "ufo", "uk", "usa"].iter().any(|start| lower.starts_with(start));
    let vowel = lower.starts_with(['a', 'e', 'i', 'o', 'u']) && (!consonant || lower.starts_with("unin"));
    if vowel || lower.starts_with("hourglass") || lower.starts_with("honest") { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        let value = |text: &str| number(&text.chars().collect::<Vec<_>>());
        for (text, expected) in [
            ("一", 1),
            ("十", 10),
            ("十二", 12),
            ("二十", 20),
            ("三十五", 35),
            ("两百", 200),
            ("一千零一", 1001),
            ("三万", 30_000),
            ("42", 42),
        ] {
            assert_eq!(value(text), Some(expected), "{text}");
        }
        assert_eq!(value("百"), None);
        assert_eq!(value("二三"), None);
        assert_eq!(value("99999999999999999999999"), None);
        assert_eq!(number_word(12), "twelve");
        assert_eq!(number_word(13), "13");
    }

    #[test]
    fn plurals_and_articles() {
        for (one, many) in [
            ("cat", "cats"),
            ("box", "boxes"),
            ("butterfly", "butterflies"),
            ("boy", "boys"),
            ("snowman", "snowmen"),
            ("wolf", "wolves"),
            ("goldfish", "goldfish"),
            ("glass of milk", "glasses of milk"),
            ("person running", "people running"),
            ("wedding ring", "wedding rings"),
            ("human", "humans"),
            ("building", "buildings"),
            ("glasses", "glasses"),
        ] {
            assert_eq!(plural(one), many);
        }
        assert_eq!([article("apple"), article("unicorn"), article("red apple"), article("UFO")], ["an", "a", "a", "a"]);
    }
}
