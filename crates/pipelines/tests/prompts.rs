//! The prompt grammar against a second implementation (`reference/gen_prompts.py`), and against broken input.

use danqing_models::tokenizers::ClipTokenizer;
use danqing_pipelines::prompts::{Chunk, Dialect, PromptOptions, Segment, WeightedPrompt, equalize, plan};
use danqing_testing::fixture_path;
use danqing_testing::mutate;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(fixture_path("reference/prompts/prompts.json")).unwrap()).unwrap()
}

fn tokenizer() -> ClipTokenizer {
    ClipTokenizer::from_folder(&fixture_path("reference/vocabulary")).unwrap()
}

#[track_caller]
fn same_segments(prompt: &WeightedPrompt, expected: &Value, case: &str) {
    let expected = expected.as_array().unwrap();
    assert_eq!(prompt.segments.len(), expected.len(), "{case}: {:?}", prompt.segments);
    for (segment, expected) in prompt.segments.iter().zip(expected) {
        match segment {
            Segment::Break => assert_eq!(expected, "BREAK", "{case}"),
            Segment::Text { text, weight } => {
                assert_eq!(Some(text.as_str()), expected[0].as_str(), "{case}");
                let reference = expected[1].as_f64().unwrap();
                assert!((weight - reference).abs() <= 1e-12 * reference.abs(), "{case}: {weight} for {reference}");
            }
        }
    }
}

#[test]
fn plans_equal_the_second_implementation() {
    for case in golden()["plans"].as_array().unwrap() {
        let prompt = case["prompt"].as_str().unwrap();
        let options = PromptOptions {
            dialect: Dialect::A1111,
            steps: case["steps"].as_u64().unwrap() as usize,
            first_pass_steps: case["before"].as_u64().map(|steps| steps as usize),
            negative: case["negative"].as_bool().unwrap_or(false),
        };
        let plan = plan(prompt, &options).unwrap();
        let spans = case["spans"].as_array().unwrap();
        let ends: Vec<u64> = plan.spans.iter().map(|span| span.steps.end as u64).collect();
        let expected: Vec<u64> = spans.iter().map(|span| span[0].as_u64().unwrap()).collect();
        assert_eq!(ends, expected, "{prompt:?}");
        let mut start = 0;
        for (span, expected) in plan.spans.iter().zip(spans) {
            assert_eq!(span.steps.start, start, "{prompt:?}: a gap");
            start = span.steps.end;
            let parts = &plan.at(span.steps.start).parts;
            assert_eq!(parts.len(), expected[1].as_array().unwrap().len(), "{prompt:?}");
            for (part, expected) in parts.iter().zip(expected[1].as_array().unwrap()) {
                assert_eq!(Some(part.weight), expected[0].as_f64(), "{prompt:?}");
                same_segments(&part.prompt, &expected[1], prompt);
            }
        }
    }
}

#[test]
fn comfyui_weights_equal_the_second_implementation() {
    let options = PromptOptions { dialect: Dialect::ComfyUi, ..PromptOptions::default() };
    for case in golden()["comfyui"].as_array().unwrap() {
        let prompt = case["prompt"].as_str().unwrap();
        let plan = plan(prompt, &options).unwrap();
        same_segments(&plan.at(0).parts[0].prompt, &case["segments"], prompt);
    }
}

#[test]
fn chunks_equal_the_second_implementation() {
    let tokenizer = tokenizer();
    for case in golden()["chunks"].as_array().unwrap() {
        let (prompt, length) = (case["prompt"].as_str().unwrap(), case["length"].as_u64().unwrap() as usize);
        for (name, dialect) in [("a1111", Dialect::A1111), ("comfyui", Dialect::ComfyUi)] {
            let plan = plan(prompt, &PromptOptions { dialect, ..PromptOptions::default() }).unwrap();
            let chunks = plan.at(0).parts[0].prompt.chunks(&tokenizer, length);
            let expected = case[name].as_array().unwrap();
            assert_eq!(chunks.len(), expected.len(), "{name} {length} {prompt:?}");
            for (chunk, expected) in chunks.iter().zip(expected) {
                assert_eq!(serde_json::json!(chunk.ids), expected[0], "{name} {length} {prompt:?}");
                let weights: Vec<f32> =
                    expected[1].as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap() as f32).collect();
                assert_eq!(chunk.weights, weights, "{name} {length} {prompt:?}");
            }
        }
    }
}

#[test]
fn a_short_plain_prompt_is_what_transformers_makes_of_it() {
    let tokenizer = tokenizer();
    let chunks = WeightedPrompt::plain("two red cats").chunks(&tokenizer, 16);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].ids, tokenizer.encode_padded("two red cats", 16));
    assert!(!chunks[0].is_weighted());
    let mut pair = [chunks, WeightedPrompt::parse("a BREAK b").unwrap().chunks(&tokenizer, 16)];
    equalize(&mut pair, &tokenizer, 16);
    assert_eq!(pair[0].len(), 2);
    assert_eq!(pair[0][1], Chunk::empty(&tokenizer, 16));
}

#[test]
fn networks_are_listed_and_said_to_do_nothing_yet() {
    let made = plan("a cat <lora:ink:0.7>, <hypernet:h:1>", &PromptOptions::default()).unwrap();
    assert_eq!(made.at(0).parts[0].prompt.text(), "a cat , ");
    assert_eq!(made.extra_networks.len(), 2);
    assert!(made.notices[0].english().contains("LoRA is not applied yet: ink"));
    assert!(made.notices[0].chinese().contains("LoRA 尚未应用"));
    let comfy = PromptOptions { dialect: Dialect::ComfyUi, ..PromptOptions::default() };
    let made = plan("embedding:bad, a (cat embedding:good:1.2)", &comfy).unwrap();
    assert_eq!(made.at(0).parts[0].prompt.text(), ", a cat");
    let names: Vec<&str> = made.extra_networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["bad", "good"]);
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let refused = |prompt: &str, steps| {
        plan(prompt, &PromptOptions { steps, ..PromptOptions::default() }).unwrap_err().to_string()
    };
    assert!(refused(&"a".repeat(40_000), 20).contains("40000 bytes"));
    assert!(refused(&"[".repeat(70), 20).contains("nested deeper than 64"));
    assert!(refused("a", 0).contains("not 0"));
    assert!(refused(&"a AND ".repeat(40), 20).contains("AND"));
    assert!(refused(&format!("[a|b]{}", "x".repeat(30_000)), 9000).contains("changes too often"));
}

/// Words of the grammar for the mutator.
const TOKENS: [&str; 16] = [
    "[",
    "]",
    "(",
    ")",
    ":",
    "|",
    "\\",
    " AND ",
    " BREAK ",
    "<lora:",
    ">",
    "0.5]",
    ":1.3)",
    "embedding:",
    "猫",
    "\u{301}",
];

/// Reads a broken prompt in every dialect, and turns what it gives into chunks.
fn exercise(bytes: &[u8], tokenizer: &ClipTokenizer) {
    let text = String::from_utf8_lossy(bytes);
    for dialect in [Dialect::A1111, Dialect::ComfyUi, Dialect::Plain] {
        for (first_pass_steps, negative) in [(None, false), (Some(5), true)] {
            let options = PromptOptions { dialect, steps: 6, first_pass_steps, negative };
            let Ok(plan) = plan(&text, &options) else { continue };
            assert_eq!(plan.spans.first().map(|span| span.steps.start), Some(0));
            assert_eq!(plan.spans.last().map(|span| span.steps.end), Some(6));
            for step in 0..7 {
                assert!(!plan.at(step).parts.is_empty());
            }
            let prompt = &plan.at(0).parts[0].prompt;
            for chunk in prompt.chunks(tokenizer, 16) {
                assert_eq!((chunk.ids.len(), chunk.weights.len()), (16, 16));
            }
        }
    }
}

#[test]
fn broken_prompts_never_panic() {
    let tokenizer = tokenizer();
    let tokens: Vec<&[u8]> = TOKENS.iter().map(|token| token.as_bytes()).collect();
    mutate::run_with_tokens(&mutate::corpus("prompts"), &tokens, 6, mutate::count(), |bytes| {
        exercise(bytes, &tokenizer)
    });
}

#[test]
fn long_hostile_prompts_stay_fast() {
    let tokenizer = tokenizer();
    let longest = 32 << 10;
    for unit in [
        "[a|b]",
        "[a:b:3]",
        "(a)",
        "(a:1.1)",
        "[",
        ")",
        ":",
        "|",
        "<a:",
        "<lora:x>",
        " AND ",
        "BREAK ",
        "\\",
        "a, ",
        "embedding:",
    ] {
        let text = unit.repeat(longest / unit.len());
        let nested = format!("{}{}", "[".repeat(60), unit.repeat((longest - 60) / unit.len()));
        for text in [text, nested] {
            let begun = std::time::Instant::now();
            exercise(text.as_bytes(), &tokenizer);
            assert!(begun.elapsed().as_secs() < 10, "{unit:?} took {:?}", begun.elapsed());
        }
    }
}
