//! Which combinations a generator may draw: colours per thing that some sprite takes, divided by the rule of held-out combinations.

use super::colour::OBJECT_COLOURS;
use super::split::{colour_held_out, count_held_out, pair_held_out};
use super::sprites::SpriteLibrary;

/// The combinations of a library.
#[derive(Debug, Clone)]
pub struct Choices {
    /// Concepts with an icon.
    pub icons: Vec<usize>,
    /// Concepts with one of our shapes.
    pub shapes: Vec<usize>,
    /// Per concept: the colours that training may show.
    pub colours: Vec<Vec<usize>>,
    /// Held-out (icon, colour).
    pub held_colours: Vec<(usize, usize)>,
    /// Held-out (shape, colour).
    pub held_shapes: Vec<(usize, usize)>,
    /// Per concept: the counts 2–4 that training may show; empty for things that are not counted.
    pub counts: Vec<Vec<usize>>,
    /// Held-out (icon, count).
    pub held_counts: Vec<(usize, usize)>,
    /// Held-out pairs of icons.
    pub held_pairs: Vec<(usize, usize)>,
}

impl Choices {
    /// Sorts a library's combinations.
    pub fn new(library: &SpriteLibrary) -> Self {
        let concepts = library.concepts();
        let has = |concept: usize, shape: bool| {
            library.sprites_of(concept).iter().any(|&s| library.sprites()[s].style.is_shape() == shape)
        };
        let all = 0..concepts.len();
        let shapes: Vec<usize> = all.clone().filter(|&c| has(c, true)).collect();
        let mut icons: Vec<usize> = all.filter(|&c| has(c, false)).collect();
        if icons.is_empty() {
            icons.clone_from(&shapes);
        }
        let mut choices = Self {
            icons,
            shapes,
            colours: Vec::new(),
            held_colours: Vec::new(),
            held_shapes: Vec::new(),
            counts: Vec::new(),
            held_counts: Vec::new(),
            held_pairs: Vec::new(),
        };
        for (index, concept) in concepts.iter().enumerate() {
            let possible = (0..OBJECT_COLOURS.len())
                .filter(|&colour| library.sprites_of(index).iter().any(|&s| library.sprites()[s].takes(colour)));
            let (held, shown): (Vec<usize>, Vec<usize>) =
                possible.partition(|&c| colour_held_out(concept, OBJECT_COLOURS[c].en));
            let counted = if concept.uncounted { 1..1 } else { 2..5 };
            let (held_counts, counts): (Vec<usize>, Vec<usize>) = counted.partition(|&n| count_held_out(concept, n));
            if choices.icons.contains(&index) {
                choices.held_colours.extend(held.iter().map(|&c| (index, c)));
                choices.held_counts.extend(held_counts.iter().map(|&n| (index, n)));
            }
            if choices.shapes.contains(&index) {
                choices.held_shapes.extend(held.iter().map(|&c| (index, c)));
            }
            choices.colours.push(shown);
            choices.counts.push(counts);
        }
        for (i, &x) in choices.icons.iter().enumerate() {
            for &y in &choices.icons[..i] {
                if pair_held_out(&concepts[x], &concepts[y]) {
                    choices.held_pairs.push((x, y));
                }
            }
        }
        choices
    }
}
