//! Settings: a file, above it the environment, above it the flags. One table, from which parser and reference page are made.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::arguments::{Kind, Value};
use crate::failure::Failure;
use crate::messages::{Language, Messages, Text, text};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name in the file; the flag of the same name overrides it.
    pub(crate) name: &'static str,
    /// Its environment variable.
    pub(crate) variable: &'static str,
    /// What it may hold.
    pub(crate) kind: Kind,
    /// What holds where nothing is set, in words.
    pub(crate) default: Text,
    /// What it does.
    pub(crate) help: Text,
}

const BY_MODEL: Text = text("the model's own", "由模型决定");

/// Every setting.
pub(crate) static SETTINGS: &[Setting] = &[
    Setting {
        name: "lang",
        variable: "DANQING_LANG",
        kind: Kind::Choice(LANGUAGES),
        default: text("from LC_ALL, LC_MESSAGES, LANG", "取自 LC_ALL、LC_MESSAGES、LANG"),
        help: text("Language of messages and help.", "消息和帮助的语言。"),
    },
    Setting {
        name: "model",
        variable: "DANQING_MODEL",
        kind: Kind::Text,
        default: text("starter", "starter"),
        help: text(
            "The model to draw with: a path, a name that `danqing models` lists, or `starter`, the embedded one.",
            "绘图所用的模型：路径、`danqing models` 列出的名称，或内置的 `starter`。",
        ),
    },
    Setting {
        name: "models",
        variable: "DANQING_MODELS",
        kind: Kind::Text,
        default: text("none", "无"),
        help: text(
            "Folders in which models are looked for, separated as in PATH: ComfyUI's and the A1111 web UI's trees, plain folders, or an extra_model_paths.yaml.",
            "查找模型的文件夹，分隔方式同 PATH：ComfyUI 或 A1111 的目录树、普通文件夹，或 extra_model_paths.yaml。",
        ),
    },
    Setting {
        name: "vae",
        variable: "DANQING_VAE",
        kind: Kind::Path,
        default: text("the model's own", "模型自带"),
        help: text(
            "A VAE to use instead of the model's: a file or a diffusers folder.",
            "替代模型自带的 VAE：文件或 diffusers 文件夹。",
        ),
    },
    Setting {
        name: "preview_decoder",
        variable: "DANQING_PREVIEW_DECODER",
        kind: Kind::Path,
        default: text("looked for around the model, else a linear guess", "在模型周围查找，找不到则线性估计"),
        help: text(
            "A TAESD decoder for previews (flag `--preview-decoder`). ComfyUI's `vae_approx` and the A1111 web UI's `VAE-taesd` folders are looked into for `taesd_decoder` or `taesdxl_decoder`.",
            "用于预览的 TAESD 解码器（选项 `--preview-decoder`）。会在 ComfyUI 的 `vae_approx` 和 A1111 的 `VAE-taesd` 文件夹中查找 `taesd_decoder` 或 `taesdxl_decoder`。",
        ),
    },
    Setting {
        name: "clip_vocab",
        variable: "DANQING_CLIP_VOCAB",
        kind: Kind::Path,
        default: text("looked for beside the checkpoint", "在模型旁边查找"),
        help: text(
            "Where CLIP's vocabulary lies (vocab.json and merges.txt, tokenizer.json, or bpe_simple_vocab_16e6.txt.gz): single-file checkpoints carry none.",
            "CLIP 词表的位置（vocab.json 和 merges.txt、tokenizer.json 或 bpe_simple_vocab_16e6.txt.gz）：单文件模型不含词表。",
        ),
    },
    Setting {
        name: "threads",
        variable: "DANQING_THREADS",
        kind: Kind::Count(1, 1024),
        default: text("as many as the machine has", "与机器核心数相同"),
        help: text("Threads of computation. The picture is the same with any number.", "计算线程数，不影响画面。"),
    },
    Setting {
        name: "precision",
        variable: "DANQING_PRECISION",
        kind: Kind::Choice(PRECISIONS),
        default: text("auto", "auto"),
        help: text(
            "Arithmetic of the networks: f32, bf16 (half the memory), or auto: bf16 where the processor computes in it.",
            "网络的运算精度：f32、bf16（内存减半），或 auto：处理器支持时用 bf16。",
        ),
    },
    Setting {
        name: "memory",
        variable: "DANQING_MEMORY",
        kind: Kind::Count(64, 1 << 30),
        default: text("what the system says is free", "系统报告的可用内存"),
        help: text(
            "MiB that drawing may use; a task that needs more is refused before it starts.",
            "绘图可用的内存（MiB）；超出时不会开始。",
        ),
    },
    Setting {
        name: "steps",
        variable: "DANQING_STEPS",
        kind: Kind::Count(1, 1000),
        default: BY_MODEL,
        help: text("Steps of sampling.", "采样步数。"),
    },
    Setting {
        name: "sampler",
        variable: "DANQING_SAMPLER",
        kind: Kind::Text,
        default: BY_MODEL,
        help: text(
            "Sampler, by any name that `danqing samplers` lists.",
            "采样器，用 `danqing samplers` 列出的任一名称。",
        ),
    },
    Setting {
        name: "schedule",
        variable: "DANQING_SCHEDULE",
        kind: Kind::Text,
        default: BY_MODEL,
        help: text("Sigma schedule.", "噪声调度。"),
    },
    Setting {
        name: "guidance",
        variable: "DANQING_GUIDANCE",
        kind: Kind::Number(0.0, 100.0),
        default: BY_MODEL,
        help: text("How strongly the prompt is followed.", "对提示词的遵循程度。"),
    },
    Setting {
        name: "negative",
        variable: "DANQING_NEGATIVE",
        kind: Kind::Text,
        default: text("empty", "空"),
        help: text("What to keep away from.", "要避免的内容。"),
    },
    Setting {
        name: "quality",
        variable: "DANQING_QUALITY",
        kind: Kind::Count(1, 100),
        default: text("92", "92"),
        help: text("Quality of JPEG files.", "JPEG 质量。"),
    },
    Setting {
        name: "translate",
        variable: "DANQING_TRANSLATE",
        kind: Kind::Toggle,
        default: text("true", "true"),
        help: text(
            "Put Chinese prompts into English for models that know only English.",
            "模型只懂英文时，把中文提示词译成英文。",
        ),
    },
];

/// The languages to choose from.
pub(crate) const LANGUAGES: &[&str] = &["en", "zh"];
/// The precisions to choose from.
pub(crate) const PRECISIONS: &[&str] = &["auto", "bf16", "f32"];

/// What file and environment say.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// Reads file and environment.
    ///
    /// # Errors
    /// A file that is there but cannot be read, an unknown name, or a value that does not fit, each with where it stands.
    pub(crate) fn load(language: Language) -> Result<Self, Failure> {
        let messages = language.messages();
        let mut settings = Self::default();
        if let Some((path, named)) = file() {
            settings.read(&path, named, language, messages)?;
        }
        for setting in SETTINGS {
            let Some(given) = env::var_os(setting.variable).filter(|v| !v.is_empty()) else { continue };
            let value = setting.kind.parse(&given).map_err(|c| Failure::Usage(c.about(setting.variable, language)))?;
            settings.values.insert(setting.name, value);
        }
        Ok(settings)
    }

    fn read(&mut self, path: &Path, named: bool, language: Language, messages: &dyn Messages) -> Result<(), Failure> {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // The usual place may be empty; a file that the user named may not.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => return Ok(()),
            Err(e) => return Err(Failure::Usage(messages.settings_unreadable(&shown, &e.to_string()))),
        };
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let sentence = e.to_string().trim().replace('\n', " ");
            Failure::Usage(messages.settings_unreadable(&shown, &sentence))
        })?;
        for (name, value) in &table {
            let Some(setting) = SETTINGS.iter().find(|s| s.name == name) else {
                let near = nearest(name, SETTINGS.iter().map(|s| s.name));
                return Err(Failure::Usage(messages.setting_unknown(&shown, name, near)));
            };
            let given = as_text(value);
            let value = setting.kind.parse(OsStr::new(&given));
            let value = value.map_err(|c| Failure::Usage(format!("{shown}: {}", c.about(name, language))))?;
            self.values.insert(setting.name, value);
        }
        Ok(())
    }

    /// The value of a setting, if file or environment give one.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }
}

/// A TOML value as it would stand on the command line; lists are joined as in PATH.
fn as_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(s) => s.clone(),
        toml::Value::Array(items) => {
            let separator = if cfg!(windows) { ";" } else { ":" };
            items.iter().map(as_text).collect::<Vec<_>>().join(separator)
        }
        other => other.to_string(),
    }
}

/// Where the file lies, and whether the user named it.
fn file() -> Option<(PathBuf, bool)> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(path) = set("DANQING_CONFIG") {
        return Some((path, true));
    }
    let folder = set("XDG_CONFIG_HOME").or_else(|| {
        set(if cfg!(windows) { "APPDATA" } else { "HOME" })
            .map(|home| if cfg!(windows) { home } else { home.join(".config") })
    })?;
    Some((folder.join("danqing").join("settings.toml"), false))
}

/// The nearest of some names, if any is near: at most a third of the letters differ.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().take(64).collect();
    let scored = names.map(|name| (distance(&wanted, &name.to_lowercase().chars().take(64).collect::<Vec<_>>()), name));
    scored.filter(|(d, name)| d * 3 <= name.chars().count().max(wanted.len())).min_by_key(|(d, _)| *d).map(|(_, n)| n)
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = || SETTINGS.iter().map(|s| s.name);
        assert_eq!(nearest("sampIer", names()), Some("sampler"));
        assert_eq!(nearest("thread", names()), Some("threads"));
        assert_eq!(nearest("colour", names()), None);
        assert_eq!(distance(&['a', 'b', 'c'], &['a', 'c']), 1);
    }

    #[test]
    fn names_and_variables_are_one() {
        for setting in SETTINGS {
            assert_eq!(setting.variable, format!("DANQING_{}", setting.name.to_uppercase()));
            assert!(!setting.help.en.is_empty() && !setting.help.zh.is_empty());
        }
    }

    #[test]
    fn the_file_takes_numbers_texts_and_lists() {
        let table: toml::Table = "a = 3\nb = \"x\"\nc = [\"m\", \"n\"]\nd = true\ne = 0.5".parse().unwrap();
        let texts: Vec<String> = table.values().map(as_text).collect();
        let joined = if cfg!(windows) { "m;n" } else { "m:n" };
        assert_eq!(texts, ["3", "x", joined, "true", "0.5"]);
    }
}
