//! The scene generator over a library of shapes only: determinism, held-out combinations, labels that agree with pixels and captions.

use std::collections::HashSet;
use std::sync::Arc;

use danqing_training::data::colour::measure;
use danqing_training::data::split::{colour_held_out, count_held_out, pair_held_out};
use danqing_training::data::{
    BACKGROUNDS, Language, OBJECT_COLOURS, PromptKind, Relation, SceneConfig, SceneGenerator, SceneKind, SceneLabels,
    Split, SpriteLibrary, caption_corpus, evaluation_prompts, known_words,
};

fn generator(split: Split, seed: u64) -> SceneGenerator {
    let library = Arc::new(SpriteLibrary::shapes_only().expect("shapes"));
    SceneGenerator::new(&library, SceneConfig { split, seed, ..SceneConfig::default() })
}

/// Whether a scene shows any held-out combination.
fn shows_held_out(generator: &SceneGenerator, labels: &SceneLabels) -> bool {
    let concepts = generator.library().concepts();
    let single = labels.objects.iter().any(|o| {
        let concept = &concepts[o.concept];
        o.colour_word().is_some_and(|colour| colour_held_out(concept, colour)) || count_held_out(concept, o.count)
    });
    let pair = match labels.objects.as_slice() {
        [x, y] => pair_held_out(&concepts[x.concept], &concepts[y.concept]),
        _ => false,
    };
    single || pair
}

#[test]
fn a_scene_is_a_function_of_seed_and_index() {
    let first = generator(Split::Train, 7);
    let again = generator(Split::Train, 7);
    let scenes: Vec<_> = (0..64).map(|i| first.scene(i)).collect();
    for i in (0..64).rev() {
        assert_eq!(again.scene(i), scenes[i as usize], "scene {i}");
    }
    let distinct: HashSet<_> = scenes.iter().map(|s| s.pixels.clone()).collect();
    assert!(distinct.len() > 60);
    assert_ne!(first.with(Split::Train, 8).scene(0), scenes[0]);
    std::thread::scope(|scope| {
        for i in 0..4 {
            let (first, scenes) = (&first, &scenes);
            scope.spawn(move || assert_eq!(first.scene(i), scenes[i as usize]));
        }
    });
}

#[test]
fn training_never_shows_held_out_combinations_and_held_out_always_does() {
    let train = generator(Split::Train, 1);
    let held = train.with(Split::HeldOut, 1);
    for index in 0..20_000 {
        let plan = train.plan(index);
        assert!(!plan.labels.objects.is_empty(), "empty scene {index}");
        assert!(!shows_held_out(&train, &plan.labels), "{}", plan.caption);
        let plan = held.plan(index);
        assert!(shows_held_out(&held, &plan.labels), "{} {:?}", plan.caption, plan.labels);
    }
}

#[test]
fn labels_agree_with_captions() {
    let generator = generator(Split::Train, 3);
    let mut relations = HashSet::new();
    let words = known_words(generator.library().concepts());
    for index in 0..4_000 {
        let plan = generator.plan(index);
        let labels = &plan.labels;
        assert_eq!(plan.caption, plan.caption.to_lowercase());
        assert_eq!(words.unknown(&plan.caption), [], "{}", plan.caption);
        relations.extend(labels.relation);
        assert_eq!(labels.relation.is_some(), labels.objects.len() == 2);
        assert!(labels.background < BACKGROUNDS.len());
        for object in &labels.objects {
            assert_eq!(object.boxes.len(), object.count);
            let colour = object.colour.map(|c| &OBJECT_COLOURS[c]).expect("shapes have a colour");
            let named = match labels.language {
                Language::English => plan.caption.contains(colour.en),
                Language::Chinese => plan.caption.contains(colour.zh_short),
            };
            assert!(named, "{} lacks {}", plan.caption, colour.en);
            for &[left, top, right, bottom] in &object.boxes {
                assert!(0.0 <= left && left < right && right <= 1.0 && 0.0 <= top && top < bottom && bottom <= 1.0);
            }
        }
        if let [x, y] = labels.objects.as_slice() {
            let middle = |b: [f32; 4]| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0];
            let ([x0, y0], [x1, y1]) = (middle(x.boxes[0]), middle(y.boxes[0]));
            assert!(match labels.relation.expect("two things") {
                Relation::LeftOf => x0 < x1,
                Relation::RightOf => x0 > x1,
                Relation::Above => y0 < y1,
                Relation::Below => y0 > y1,
            });
        }
    }
    assert_eq!(relations.len(), 4);
}

#[test]
fn pixels_inside_the_boxes_have_the_labelled_colour() {
    let generator = generator(Split::Train, 5);
    let side = generator.config().size;
    let mut right = 0;
    let mut all = 0;
    for index in 0..400 {
        let scene = generator.scene(index);
        for object in &scene.labels.objects {
            for spot in &object.boxes {
                // The middle third of the box: every shape but none with a hole is solid there.
                let [left, top, width, height] = [
                    (spot[0] * 2.0 + spot[2]) / 3.0,
                    (spot[1] * 2.0 + spot[3]) / 3.0,
                    (spot[2] - spot[0]) / 3.0,
                    (spot[3] - spot[1]) / 3.0,
                ]
                .map(|v| (v * side as f32).round() as usize);
                let mut rgba = Vec::new();
                for y in top..top + height.max(1) {
                    for x in left..left + width.max(1) {
                        rgba.extend(&scene.pixels[(y * side + x) * 3..][..3]);
                        rgba.push(255);
                    }
                }
                all += 1;
                right += usize::from(measure(&rgba).map(|m| m.colour) == object.colour);
            }
        }
    }
    assert!(right * 100 >= all * 97, "{right} of {all}");
}

#[test]
fn evaluation_prompts_are_frozen_distinct_and_held_out() {
    let generator = generator(Split::Train, 0);
    let prompts = evaluation_prompts(generator.library(), 24);
    assert_eq!(prompts, evaluation_prompts(generator.library(), 24));
    assert!(prompts.len() >= 12);
    let texts: HashSet<_> = prompts.iter().map(|p| &p.en).collect();
    assert_eq!(texts.len(), prompts.len());
    for prompt in &prompts {
        if prompt.kind != PromptKind::Concept {
            assert!(shows_held_out(&generator, &prompt.labels), "{}", prompt.en);
        }
        if prompt.kind == PromptKind::Pair {
            assert_eq!((prompt.labels.kind, prompt.labels.objects.len()), (SceneKind::Pair, 2));
        }
        assert!(prompt.zh.chars().any(|c| c as u32 > 0x4e00));
    }
}

#[test]
fn the_corpus_has_every_name() {
    let generator = generator(Split::Train, 0);
    let corpus = caption_corpus(&generator, 500);
    for concept in generator.library().concepts() {
        assert!(corpus.contains_key(&concept.en) && concept.zh.iter().all(|name| corpus.contains_key(name)));
    }
    assert!(corpus.values().sum::<u64>() >= 500);
}
