//! What the model understands of a prompt: Chinese is put into English for models that know only that, and words that mean
//! nothing to the starter are named.

use danqing_pipelines::prompts::{Glossary, needs_translation, translate};
use danqing_pipelines::request::DrawRequest;
use danqing_training::data::KnownWords;

use crate::commands::Invocation;
use crate::progress::Watch;
use crate::wire::Opened;

/// The words that the starter was trained with.
const STARTER_WORDS: &str = include_str!("../../../../../starter/words.json");

/// Settles both prompts; the prompt as it was, if it was put into English.
pub(super) fn settle(
    invocation: &Invocation,
    watch: &Watch,
    opened: &Opened,
    request: &mut DrawRequest,
) -> Option<String> {
    if opened.starter() {
        name_unknown(invocation, watch, &request.prompt);
        return None;
    }
    // A text encoder of a known family is CLIP's, which knows English; a small one of one's own may know anything.
    let english_only = opened.model.family.is_some();
    let wanted = !invocation.is("no-translate") && invocation.toggle("translate").unwrap_or(true);
    if !english_only || !wanted {
        return None;
    }
    into_english(invocation, watch, &mut request.negative_prompt);
    into_english(invocation, watch, &mut request.prompt)
}

fn into_english(invocation: &Invocation, watch: &Watch, prompt: &mut String) -> Option<String> {
    if !needs_translation(prompt) {
        return None;
    }
    let translation = translate(prompt, Glossary::builtin());
    watch.say(&invocation.messages().english_prompt(&translation.english));
    if !translation.untranslated.is_empty() {
        watch.say(&invocation.messages().untranslated(&translation.untranslated));
    }
    Some(std::mem::replace(prompt, translation.english))
}

fn name_unknown(invocation: &Invocation, watch: &Watch, prompt: &str) {
    // The list is part of the program; a test reads it.
    let Ok(words) = KnownWords::from_json(STARTER_WORDS) else { return };
    for unknown in words.unknown(prompt) {
        watch.say(&invocation.messages().unknown_word(&unknown.word, &unknown.suggestions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starters_words_can_be_read() {
        let words = KnownWords::from_json(STARTER_WORDS).unwrap();
        assert!(words.things.len() >= 150);
        assert!(words.unknown("两只红色的猫").is_empty());
        assert_eq!(words.unknown("a spectrograph")[0].word, "spectrograph");
    }
}
