//! Captions: what a person would type for a scene, in English and Chinese, in many forms; and one plain form for evaluation prompts.

use super::background::{BACKGROUNDS, Background};
use super::colour::OBJECT_COLOURS;
use super::concept::Concept;
use super::dice::Dice;
use super::labels::{Language, ObjectLabel, Relation, SceneLabels, SizeWord};

const NUMBERS_EN: [&str; 5] = ["zero", "one", "two", "three", "four"];
const NUMBERS_ZH: [&str; 5] = ["零", "一", "两", "三", "四"];

/// Writes the captions of scenes made of these concepts.
#[derive(Debug, Clone, Copy)]
pub struct Captions<'a> {
    /// The library's concepts, which labels index.
    pub concepts: &'a [Concept],
}

/// English plural of a name by rule ("puppy" → "puppies"); used for synonyms, whose plurals the list does not give.
pub fn plural(name: &str) -> String {
    if name.ends_with("ch") || name.ends_with("sh") || name.ends_with(['s', 'x']) {
        return format!("{name}es");
    }
    match name.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{name}s"),
    }
}

fn with_article(phrase: &str) -> String {
    let vowel =
        phrase.starts_with(['a', 'e', 'i', 'o', 'u']) && !["unicorn", "ufo"].iter().any(|w| phrase.starts_with(w));
    format!("{} {phrase}", if vowel { "an" } else { "a" })
}

fn size_en(size: Option<SizeWord>) -> &'static str {
    match size {
        Some(SizeWord::Big) => "big ",
        Some(SizeWord::Small) => "small ",
        None => "",
    }
}

fn size_zh(size: Option<SizeWord>) -> &'static str {
    match size {
        Some(SizeWord::Big) => "大",
        Some(SizeWord::Small) => "小",
        None => "",
    }
}

impl Captions<'_> {
    /// A caption in the labels' language, in one of many forms.
    pub fn write(&self, labels: &SceneLabels, dice: &mut Dice) -> String {
        let background = BACKGROUNDS.get(labels.background).filter(|_| mentions(labels.background, dice));
        match labels.language {
            Language::English => self.english(labels, background, dice),
            Language::Chinese => self.chinese(labels, background, dice),
        }
    }

    /// The plainest full caption, always the same for the same labels; the background is left out.
    pub fn plain(&self, labels: &SceneLabels, language: Language) -> String {
        let [first, rest @ ..] = labels.objects.as_slice() else {
            return String::new();
        };
        match language {
            Language::English => {
                let name = |o: &ObjectLabel| self.full_en(o, self.name_en(o, None), "", None);
                match rest.first() {
                    None => name(first),
                    Some(second) => {
                        let middle = match labels.relation {
                            Some(Relation::LeftOf) => "to the left of",
                            Some(Relation::RightOf) => "to the right of",
                            Some(Relation::Above) => "above",
                            Some(Relation::Below) => "below",
                            None => "and",
                        };
                        format!("{} {middle} {}", name(first), name(second))
                    }
                }
            }
            Language::Chinese => {
                let name = |o: &ObjectLabel| self.full_zh(o, self.concepts[o.concept].zh_name(), "", None);
                match rest.first() {
                    None => name(first),
                    Some(second) => {
                        let (here, there) = sides_zh(labels.relation);
                        format!("{here}是{},{there}是{}", name(first), name(second))
                    }
                }
            }
        }
    }

    fn name_en(&self, object: &ObjectLabel, dice: Option<&mut Dice>) -> String {
        let concept = &self.concepts[object.concept];
        let synonym = dice.and_then(|d| {
            (!concept.en_synonyms.is_empty() && d.chance(0.2)).then(|| d.pick(&concept.en_synonyms)).flatten()
        });
        match (synonym, object.count) {
            (Some(word), 1) => word.clone(),
            (Some(word), _) => plural(word),
            (None, 1) => concept.en.clone(),
            (None, _) => concept.en_plural.clone(),
        }
    }

    /// Number or article, size, colour, name.
    fn full_en(&self, object: &ObjectLabel, name: String, size: &str, dice: Option<&mut Dice>) -> String {
        let concept = &self.concepts[object.concept];
        let colour = object.colour_word().map_or(String::new(), |c| format!("{c} "));
        let phrase = format!("{size}{colour}{name}");
        if object.count > 1 {
            let digits = dice.is_some_and(|d| d.chance(0.2));
            return match NUMBERS_EN.get(object.count) {
                Some(word) if !digits => format!("{word} {phrase}"),
                _ => format!("{} {phrase}", object.count),
            };
        }
        // "scissors", "jeans", "cheese" take no article; their synonyms ("loaf of bread") do.
        if name == concept.en && (concept.uncounted || concept.en == concept.en_plural && name.ends_with('s')) {
            phrase
        } else {
            with_article(&phrase)
        }
    }

    fn noun_en(&self, object: &ObjectLabel, size: &str, dice: &mut Dice) -> String {
        let name = self.name_en(object, Some(dice));
        if object.count == 1 && dice.chance(0.3) {
            let colour = object.colour_word().map_or(String::new(), |c| format!("{c} "));
            return format!("{size}{colour}{name}");
        }
        self.full_en(object, name, size, Some(dice))
    }

    fn english(&self, labels: &SceneLabels, background: Option<&Background>, dice: &mut Dice) -> String {
        let [first, rest @ ..] = labels.objects.as_slice() else {
            return String::new();
        };
        let body = match rest.first() {
            None => {
                if dice.chance(0.04) {
                    return self.keywords_en(first, background);
                }
                let noun = self.noun_en(first, size_en(labels.size), dice);
                match dice.weighted(&[0.8, 0.06, 0.05, 0.05, 0.04]) {
                    0 => noun,
                    1 => format!("a picture of {noun}"),
                    2 => format!("a drawing of {noun}"),
                    3 => format!("draw {noun}"),
                    _ => format!("an icon of {noun}"),
                }
            }
            Some(second) => {
                let (x, y) = (self.noun_en(first, "", dice), self.noun_en(second, "", dice));
                let middle = match labels.relation {
                    Some(relation) if dice.chance(0.2) => match relation {
                        Relation::LeftOf | Relation::RightOf => dice.word(&["and", "and", "next to", "with"]),
                        Relation::Above | Relation::Below => dice.word(&["and", "and", "with"]),
                    },
                    Some(Relation::LeftOf) => dice.word(&["left of", "to the left of", "on the left of"]),
                    Some(Relation::RightOf) => dice.word(&["right of", "to the right of", "on the right of"]),
                    Some(Relation::Above) => dice.word(&["above", "above", "over", "on top of"]),
                    Some(Relation::Below) => dice.word(&["below", "below", "under"]),
                    None => "and",
                };
                format!("{x} {middle} {y}")
            }
        };
        let Some(background) = background else {
            return body;
        };
        match background.place {
            Some([phrase, _]) => format!("{body} {phrase}"),
            None => match dice.weighted(&[0.5, 0.25, 0.25]) {
                0 => format!("{body} on {} background", with_article(background.en)),
                1 => format!("{body} on {} background", background.en),
                _ => format!("{body}, {} background", background.en),
            },
        }
    }

    fn keywords_en(&self, object: &ObjectLabel, background: Option<&Background>) -> String {
        let concept = &self.concepts[object.concept];
        let mut words = vec![concept.en.clone()];
        words.extend(object.colour_word().map(str::to_owned));
        if object.count > 1 {
            words.push(format!("x{}", object.count));
        }
        words.extend(background.map(|b| match b.place {
            Some([phrase, _]) => phrase.to_owned(),
            None => format!("{} background", b.en),
        }));
        words.join(", ")
    }

    /// Number, measure word, colour, size, name.
    fn full_zh(&self, object: &ObjectLabel, name: &str, size: &str, mut dice: Option<&mut Dice>) -> String {
        let concept = &self.concepts[object.concept];
        let digits = dice.as_mut().is_some_and(|d| d.chance(0.15));
        let number = match NUMBERS_ZH.get(object.count) {
            Some(word) if !digits => (*word).to_owned(),
            _ => object.count.to_string(),
        };
        // 蓝色的小猫, never 蓝小猫.
        let forms = if size.is_empty() { [0.6, 0.15, 0.25] } else { [1.0, 0.0, 0.0] };
        let colour = OBJECT_COLOURS.get(object.colour.unwrap_or(usize::MAX));
        let colour = colour.map_or(String::new(), |c| match dice.as_mut().map_or(0, |d| d.weighted(&forms)) {
            0 => format!("{}的", c.zh),
            1 => c.zh.to_owned(),
            _ => c.zh_short.to_owned(),
        });
        format!("{number}{}{colour}{size}{name}", concept.measure_word)
    }

    fn noun_zh(&self, object: &ObjectLabel, size: &str, dice: &mut Dice) -> String {
        let concept = &self.concepts[object.concept];
        let name = match concept.zh.as_slice() {
            [_, others @ ..] if !others.is_empty() && dice.chance(0.3) => dice.pick(others).map_or("", String::as_str),
            _ => concept.zh_name(),
        };
        let whole = self.full_zh(object, name, size, Some(dice));
        if object.count == 1 && dice.chance(0.45) {
            // Without number and measure word: 红色的猫, 猫.
            let head: usize = 1;
            let skip = head + concept.measure_word.chars().count();
            return whole.chars().skip(skip).collect();
        }
        whole
    }

    fn chinese(&self, labels: &SceneLabels, background: Option<&Background>, dice: &mut Dice) -> String {
        let [first, rest @ ..] = labels.objects.as_slice() else {
            return String::new();
        };
        let comma = dice.word(&["\u{ff0c}", "\u{ff0c}", "\u{ff0c}", ",", " "]);
        let Some(second) = rest.first() else {
            if dice.chance(0.04) {
                return self.keywords_zh(first, background);
            }
            let noun = self.noun_zh(first, size_zh(labels.size), dice);
            return match background.map(|b| (b, b.place)) {
                None => match dice.weighted(&[0.84, 0.1, 0.06]) {
                    0 => noun,
                    1 => format!("画{noun}"),
                    _ => format!("{noun}的图片"),
                },
                Some((_, Some([_, place]))) => match dice.below(3) {
                    0 => format!("{place}的{noun}"),
                    1 => format!("{place}有{noun}"),
                    _ => format!("{noun}{comma}{place}"),
                },
                Some((b, None)) => match dice.below(6) {
                    0 => format!("{}背景上的{noun}", b.zh),
                    1 => format!("{}背景{comma}{noun}", b.zh),
                    2 => format!("画{noun}{comma}{}背景", b.zh),
                    _ => format!("{noun}{comma}{}背景", b.zh),
                },
            };
        };
        let (x, y) = (self.noun_zh(first, "", dice), self.noun_zh(second, "", dice));
        let (here, there) = sides_zh(labels.relation);
        let body = match dice.weighted(&[0.2, 0.4, 0.4]) {
            0 => format!("{x}和{y}"),
            1 => format!("{here}是{x}{comma}{there}是{y}"),
            _ => format!("{x}在{y}的{here}"),
        };
        match background {
            None => body,
            Some(b) => match b.place {
                Some([_, place]) => format!("{body}{comma}{place}"),
                None => format!("{body}{comma}{}背景", b.zh),
            },
        }
    }

    fn keywords_zh(&self, object: &ObjectLabel, background: Option<&Background>) -> String {
        let concept = &self.concepts[object.concept];
        let mut words = vec![concept.zh_name().to_owned()];
        words.extend(object.colour.and_then(|c| OBJECT_COLOURS.get(c)).map(|c| c.zh.to_owned()));
        if object.count > 1 {
            words.push(format!("{}{}", object.count, concept.measure_word));
        }
        words.extend(background.map(|b| match b.place {
            Some([_, place]) => place.to_owned(),
            None => format!("{}背景", b.zh),
        }));
        words.join(" ")
    }
}

/// Whether the caption names the background: a white one is what one expects, so it is named less often.
fn mentions(background: usize, dice: &mut Dice) -> bool {
    dice.chance(if background == 0 { 0.3 } else { 0.85 })
}

/// Where the first and the second object stand.
fn sides_zh(relation: Option<Relation>) -> (&'static str, &'static str) {
    match relation {
        Some(Relation::RightOf) => ("右边", "左边"),
        Some(Relation::Above) => ("上面", "下面"),
        Some(Relation::Below) => ("下面", "上面"),
        Some(Relation::LeftOf) | None => ("左边", "右边"),
    }
}
