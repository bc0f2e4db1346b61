//! The generator of captioned scenes: scene number `index` under a seed is always the same picture, caption and labels, whichever thread
//! or run makes it.

use std::sync::Arc;

use super::atlas::Atlas;
use super::background::{self, BACKGROUNDS, PLAIN_BACKGROUNDS};
use super::caption::Captions;
use super::choices::Choices;
use super::colour::{Lab, OBJECT_COLOURS};
use super::dice::Dice;
use super::labels::{Language, ObjectLabel, Relation, SceneKind, SceneLabels, SizeWord};
use super::layout::{self, Spot};
use super::pixels::{Placement, paint};
use super::split::{Split, pair_held_out};
use super::sprites::SpriteLibrary;

/// How often each kind of scene comes; any positive scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SceneWeights {
    /// One thing.
    pub single: f32,
    /// One to four of one thing.
    pub count: f32,
    /// Two things.
    pub pair: f32,
    /// Our shapes.
    pub shape: f32,
}

impl Default for SceneWeights {
    fn default() -> Self {
        Self { single: 0.5, count: 0.08, pair: 0.39, shape: 0.03 }
    }
}

/// What a generator makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SceneConfig {
    /// Side of the pictures in pixels, 16–512; sprites are 128 pixels at most.
    pub size: usize,
    /// Training or held-out combinations.
    pub split: Split,
    /// Seed of everything.
    pub seed: u64,
    /// The mix of kinds.
    pub weights: SceneWeights,
    /// Share of English captions; the others are Chinese.
    pub english: f32,
}

impl Default for SceneConfig {
    fn default() -> Self {
        Self { size: 64, split: Split::Train, seed: 0, weights: SceneWeights::default(), english: 0.5 }
    }
}

/// One sprite of a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Draw {
    sprite: usize,
    colour: Option<usize>,
    at: Placement,
}

/// A scene before painting: caption and labels, cheap to make.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenePlan {
    /// What a person would type for it.
    pub caption: String,
    /// What is in it.
    pub labels: SceneLabels,
    draws: Vec<Draw>,
    index: u64,
}

/// A painted scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// RGB bytes, `[size, size, 3]`, rows from the top.
    pub pixels: Vec<u8>,
    /// What a person would type for it.
    pub caption: String,
    /// What is in it.
    pub labels: SceneLabels,
}

/// Makes scenes; cheap to clone, and shared by threads.
#[derive(Debug, Clone)]
pub struct SceneGenerator {
    atlas: Arc<Atlas>,
    choices: Arc<Choices>,
    config: SceneConfig,
}

/// A thing chosen for a scene: concept, colour, and the sprite that shows it.
#[derive(Clone, Copy)]
struct Thing {
    concept: usize,
    colour: Option<usize>,
    sprite: usize,
}

impl SceneGenerator {
    /// A generator over a library. A size outside 16–512 is brought to the nearest bound.
    pub fn new(library: &Arc<SpriteLibrary>, config: SceneConfig) -> Self {
        let size = config.size.clamp(16, 512);
        Self {
            atlas: Arc::new(Atlas::new(Arc::clone(library), size)),
            choices: Arc::new(Choices::new(library)),
            config: SceneConfig { size, ..config },
        }
    }

    /// The same sprites with another split or seed; shares all memory.
    pub fn with(&self, split: Split, seed: u64) -> Self {
        Self { config: SceneConfig { split, seed, ..self.config }, ..self.clone() }
    }

    /// What this generator makes.
    pub fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// The library behind it.
    pub fn library(&self) -> &Arc<SpriteLibrary> {
        self.atlas.library()
    }

    /// The combinations it draws from.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// Scene `index`, painted.
    pub fn scene(&self, index: u64) -> Scene {
        let plan = self.plan(index);
        let mut pixels = vec![0; self.config.size * self.config.size * 3];
        self.paint(&plan, &mut pixels);
        Scene { pixels, caption: plan.caption, labels: plan.labels }
    }

    /// Paints a plan of this generator into RGB bytes `[size, size, 3]`; a buffer of another length is left as it is.
    pub fn paint(&self, plan: &ScenePlan, pixels: &mut [u8]) {
        let side = self.config.size;
        if pixels.len() != side * side * 3 {
            return;
        }
        let mut dice = Dice::new(self.config.seed ^ 0x5EED_BACC, plan.index);
        background::fill(pixels, side, plan.labels.background, &mut dice);
        for draw in &plan.draws {
            if let Some(chain) = self.atlas.chain(draw.sprite, draw.colour) {
                paint(pixels, side, chain, &draw.at);
            }
        }
    }

    /// Scene `index` without its picture.
    pub fn plan(&self, index: u64) -> ScenePlan {
        let salt = match self.config.split {
            Split::Train => 0,
            Split::HeldOut => 0x48E1_D007,
        };
        let mut dice = Dice::new(self.config.seed ^ salt, index);
        let weights = &self.config.weights;
        let kinds = [weights.single, weights.count, weights.pair, weights.shape];
        let mut labels = SceneLabels {
            kind: SceneKind::Single,
            objects: Vec::new(),
            background: 0,
            relation: None,
            size: None,
            language: if dice.chance(self.config.english) { Language::English } else { Language::Chinese },
        };
        let mut draws = Vec::new();
        match dice.weighted(&kinds) {
            0 => self.single(&mut labels, &mut draws, &mut dice, false),
            1 => self.count(&mut labels, &mut draws, &mut dice),
            2 => self.pair(&mut labels, &mut draws, &mut dice),
            _ => self.shape(&mut labels, &mut draws, &mut dice),
        }
        labels.background = self.background(&draws, &mut dice);
        let captions = Captions { concepts: self.library().concepts() };
        ScenePlan { caption: captions.write(&labels, &mut dice), labels, draws, index }
    }

    fn held_out(&self) -> bool {
        self.config.split == Split::HeldOut
    }

    /// A colour that training may show for this concept, with the given probability; pure shapes always have one.
    fn shown_colour(&self, concept: usize, probability: f32, dice: &mut Dice) -> Option<usize> {
        let always = self.library().concepts()[concept].is_pure_shape();
        let natural = self.sprites(concept, None).next().is_some();
        if !always && natural && !dice.chance(probability) {
            return None;
        }
        dice.pick(&self.choices.colours[concept]).copied()
    }

    fn sprites(&self, concept: usize, colour: Option<usize>) -> impl Iterator<Item = usize> {
        let library = self.library();
        library.sprites_of(concept).iter().copied().filter(move |&s| {
            let sprite = &library.sprites()[s];
            match colour {
                Some(colour) => sprite.takes(colour),
                None => !sprite.style.is_shape(),
            }
        })
    }

    fn thing(&self, concept: usize, colour: Option<usize>, dice: &mut Dice) -> Option<Thing> {
        let count = self.sprites(concept, colour).count();
        let sprite = self.sprites(concept, colour).nth(dice.below(count))?;
        Some(Thing { concept, colour, sprite })
    }

    fn one_of(&self, pool: &[usize], colours: f32, dice: &mut Dice) -> Option<Thing> {
        // A thing may have no picture in its colour: then another is drawn.
        (0..64).find_map(|_| {
            let concept = *dice.pick(pool)?;
            let colour = self.shown_colour(concept, colours, dice);
            self.thing(concept, colour, dice)
        })
    }

    fn single(&self, labels: &mut SceneLabels, draws: &mut Vec<Draw>, dice: &mut Dice, shapes: bool) {
        let (pool, held) = if shapes {
            (&self.choices.shapes, &self.choices.held_shapes)
        } else {
            (&self.choices.icons, &self.choices.held_colours)
        };
        let thing = if self.held_out() {
            dice.pick(held).copied().and_then(|(concept, colour)| self.thing(concept, Some(colour), dice))
        } else {
            self.one_of(pool, if shapes { 1.0 } else { 0.35 }, dice)
        };
        let Some(thing) = thing else { return };
        labels.size = match dice.weighted(&[0.88, 0.06, 0.06]) {
            0 => None,
            1 => Some(SizeWord::Big),
            _ => Some(SizeWord::Small),
        };
        let spot = layout::single(labels.size, dice);
        self.add(labels, draws, thing, &[spot], dice);
    }

    fn count(&self, labels: &mut SceneLabels, draws: &mut Vec<Draw>, dice: &mut Dice) {
        labels.kind = SceneKind::Count;
        let chosen = if self.held_out() {
            dice.pick(&self.choices.held_counts).copied().and_then(|(concept, count)| {
                let colour = self.shown_colour(concept, 0.35, dice);
                Some((self.thing(concept, colour, dice)?, count))
            })
        } else {
            self.counted(&self.choices.icons, 0.25, dice)
        };
        let Some((thing, count)) = chosen else { return };
        let spots = layout::several(count, dice);
        self.add(labels, draws, thing, &spots, dice);
    }

    fn counted(&self, pool: &[usize], colours: f32, dice: &mut Dice) -> Option<(Thing, usize)> {
        let wanted = [1, 2, 3, 4][dice.weighted(&[0.1, 0.3, 0.3, 0.3])];
        (0..64).find_map(|_| {
            let thing = self.one_of(pool, colours, dice)?;
            let allowed = &self.choices.counts[thing.concept];
            let fits = !allowed.is_empty() && (wanted == 1 || allowed.contains(&wanted));
            fits.then_some((thing, wanted))
        })
    }

    fn pair(&self, labels: &mut SceneLabels, draws: &mut Vec<Draw>, dice: &mut Dice) {
        labels.kind = SceneKind::Pair;
        let chosen = if self.held_out() {
            dice.pick(&self.choices.held_pairs).and_then(|&(x, y)| {
                let (x, y) = if dice.chance(0.5) { (x, y) } else { (y, x) };
                let first = self.shown_colour(x, 0.3, dice);
                let second = self.shown_colour(y, 0.3, dice);
                Some((self.thing(x, first, dice)?, self.thing(y, second, dice)?))
            })
        } else {
            self.two_of(&self.choices.icons, 0.25, dice)
        };
        self.add_pair(labels, draws, chosen, dice);
    }

    fn two_of(&self, pool: &[usize], colours: f32, dice: &mut Dice) -> Option<(Thing, Thing)> {
        let concepts = self.library().concepts();
        (0..64).find_map(|_| {
            let x = self.one_of(pool, colours, dice)?;
            let y = self.one_of(pool, colours, dice)?;
            let apart = x.concept != y.concept;
            (apart && !pair_held_out(&concepts[x.concept], &concepts[y.concept])).then_some((x, y))
        })
    }

    fn add_pair(
        &self,
        labels: &mut SceneLabels,
        draws: &mut Vec<Draw>,
        chosen: Option<(Thing, Thing)>,
        dice: &mut Dice,
    ) {
        let Some((x, y)) = chosen else { return };
        let relation = Relation::ALL[dice.weighted(&[0.32, 0.32, 0.18, 0.18])];
        let [first, second] = layout::pair(relation, dice);
        labels.relation = Some(relation);
        self.add(labels, draws, x, &[first], dice);
        self.add(labels, draws, y, &[second], dice);
    }

    fn shape(&self, labels: &mut SceneLabels, draws: &mut Vec<Draw>, dice: &mut Dice) {
        labels.kind = SceneKind::Shape;
        let pool = &self.choices.shapes;
        let form = if self.held_out() { 0 } else { dice.weighted(&[0.5, 0.25, 0.25]) };
        match form {
            0 => self.single(labels, draws, dice, true),
            1 => {
                if let Some((thing, count)) = self.counted(pool, 1.0, dice) {
                    let spots = layout::several(count, dice);
                    self.add(labels, draws, thing, &spots, dice);
                }
            }
            _ => {
                let chosen = self.two_of(pool, 1.0, dice);
                self.add_pair(labels, draws, chosen, dice);
            }
        }
    }

    fn add(&self, labels: &mut SceneLabels, draws: &mut Vec<Draw>, thing: Thing, spots: &[Spot], dice: &mut Dice) {
        let concept = &self.library().concepts()[thing.concept];
        let extent = self.library().sprites()[thing.sprite].extent;
        // A turned square is a diamond: shapes keep their posture.
        let most = if concept.shape { 0.05 } else { 0.17 };
        let mirrored = concept.mirrors && dice.chance(0.03);
        let mut boxes = Vec::with_capacity(spots.len());
        for spot in spots {
            let turn = if spot.size < 0.86 && dice.chance(0.03) { dice.between(-most, most) } else { 0.0 };
            let (sin, cos) = (turn.sin().abs(), turn.cos());
            let half = spot.size / 2.0;
            let wide = half * (extent[0] * cos + extent[1] * sin);
            let high = half * (extent[1] * cos + extent[0] * sin);
            boxes.push([spot.x - wide, spot.y - high, spot.x + wide, spot.y + high].map(|v| v.clamp(0.0, 1.0)));
            let side = self.config.size as f32;
            draws.push(Draw {
                sprite: thing.sprite,
                colour: thing.colour,
                at: Placement { centre: [spot.x * side, spot.y * side], size: spot.size * side, turn, mirrored },
            });
        }
        labels.objects.push(ObjectLabel { concept: thing.concept, colour: thing.colour, count: spots.len(), boxes });
    }

    /// A background that every object stands out from.
    fn background(&self, draws: &[Draw], dice: &mut Dice) -> usize {
        let colours: Vec<Lab> = draws
            .iter()
            .map(|draw| match draw.colour {
                Some(colour) => Lab::from_rgb(OBJECT_COLOURS[colour].rgb),
                None => self.library().sprites()[draw.sprite].mean,
            })
            .collect();
        let contrast = |background: usize| {
            let mean = background::mean_colour(background);
            let distances = colours.iter().map(|c| c.distance(mean));
            distances.fold(f32::INFINITY, f32::min)
        };
        for _ in 0..16 {
            let candidate = match dice.weighted(&[0.34, 0.46, 0.2]) {
                0 => 0,
                1 => dice.below(PLAIN_BACKGROUNDS),
                _ => PLAIN_BACKGROUNDS + dice.below(BACKGROUNDS.len() - PLAIN_BACKGROUNDS),
            };
            if contrast(candidate) > 0.17 {
                return candidate;
            }
        }
        (0..PLAIN_BACKGROUNDS).max_by(|&x, &y| contrast(x).total_cmp(&contrast(y))).unwrap_or(0)
    }
}
