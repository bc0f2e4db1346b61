//! The sentences in Chinese.

use super::{Messages, Refusal};

/// Chinese.
pub(crate) struct Chinese;

impl Messages for Chinese {
    fn error(&self, sentence: &str) -> String {
        format!("错误：{sentence}")
    }

    fn see_help(&self, command: &str) -> String {
        format!("全部选项见 `{command} --help`")
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let meant = |near: &Option<String>| near.as_ref().map(|n| format!("，是否想用 {n}？")).unwrap_or_default();
        match refusal {
            Refusal::UnknownFlag(flag, near) => format!("没有选项 {flag}{}", meant(near)),
            Refusal::UnknownCommand(name, near) => format!("没有命令“{name}”{}", meant(near)),
            Refusal::NoValue(flag) => format!("{flag} 需要一个值"),
            Refusal::Twice(flag) => format!("{flag} 重复出现"),
            Refusal::Superfluous(word) => format!("多出一个词“{word}”；含空格的提示词请加引号"),
            Refusal::NotUnicode => "有参数不是有效的 UTF-8".into(),
            Refusal::Other(words) => words.clone(),
        }
    }

    fn settings_unreadable(&self, path: &str, why: &str) -> String {
        format!("无法读取设置文件 {path}：{why}")
    }

    fn setting_unknown(&self, path: &str, name: &str, near: Option<&str>) -> String {
        let near = near.map(|n| format!("，是否想用“{n}”？")).unwrap_or_default();
        format!("{path}：没有设置项“{name}”{near}（`danqing reference settings` 列出全部）")
    }

    fn damaged(&self, file: &str, why: &str) -> String {
        format!("{file} 不完整：{why}")
    }
}
