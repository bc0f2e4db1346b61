//! The program as a user calls it. No test needs a model.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{EncodeOptions, Infotext, Picture, save};

struct Call {
    command: Command,
    folder: tempfile::TempDir,
}

struct Said {
    status: i32,
    out: String,
    err: String,
}

/// A call with a clean environment, in an empty folder.
fn danqing(arguments: &[&str]) -> Call {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_danqing"));
    command.args(arguments).current_dir(folder.path()).env_clear().env("HOME", folder.path()).env("LANG", "C.UTF-8");
    Call { command, folder }
}

impl Call {
    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.folder.path().join(name), bytes).unwrap();
        self
    }

    fn say(mut self) -> Said {
        let Output { status, stdout, stderr } = self.command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { status: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }
}

fn picture(folder: &Path) -> PathBuf {
    let mut picture = Picture::filled(16, 8, &[10, 120, 200]).unwrap();
    let mut infotext = Infotext::new("two red cats", "dogs");
    infotext
        .set("Steps", 12)
        .set("Sampler", "Euler")
        .set("Seed", 42)
        .set("Size", "16x8")
        .set("Version", "danqing 0.1.0");
    picture.metadata.set_infotext(infotext.to_string());
    picture.metadata.set_digital_source_type(DigitalSourceType::TrainedAlgorithmicMedia);
    let path = folder.join("cats.png");
    save(&path, &picture, &EncodeOptions::default()).unwrap();
    path
}

#[test]
fn help_shows_every_command_in_both_languages() {
    for arguments in [&["--help"][..], &["-h"], &["help"], &[]] {
        let said = danqing(arguments).say();
        assert_eq!(said.status, 0, "{arguments:?}: {}", said.err);
        for name in ["draw", "inspect", "models", "samplers", "reference"] {
            assert!(said.out.contains(&format!("\n  {name} ")), "{arguments:?} lacks {name}:\n{}", said.out);
        }
    }
    let said = danqing(&["help", "draw"]).say();
    for word in ["Usage: danqing draw", "--sampler <NAME>", "Examples:", "From a picture:"] {
        assert!(said.out.contains(word), "{word} is not in\n{}", said.out);
    }
    let said = danqing(&["draw", "--help"]).env("LANG", "zh_CN.UTF-8").say();
    for word in ["用法: danqing draw", "采样器", "示例：", "显示帮助"] {
        assert!(said.out.contains(word), "{word} is not in\n{}", said.out);
    }
    assert!(!said.out.contains("Print help"), "{}", said.out);
}

#[test]
fn the_language_comes_from_flag_setting_or_environment() {
    let chinese = |said: Said| said.err.starts_with("错误：");
    assert!(chinese(danqing(&["draw"]).env("LC_ALL", "zh_CN.UTF-8").say()));
    assert!(chinese(danqing(&["draw", "--lang", "zh"]).say()));
    assert!(chinese(danqing(&["--lang=zh", "draw"]).say()));
    assert!(chinese(danqing(&["draw"]).env("DANQING_LANG", "zh").say()));
    assert!(!chinese(danqing(&["draw", "--lang", "en"]).env("LANG", "zh_CN.UTF-8").say()));
    assert!(!chinese(danqing(&["draw"]).env("LC_ALL", "C").env("LANG", "zh_CN.UTF-8").say()));
}

#[test]
fn what_makes_no_sense_is_refused_in_one_sentence() {
    let cases: [(&[&str], &str); 13] = [
        (&["drwa"], "did you mean draw?"),
        (&["draw", "a cat", "--stesp", "3"], "did you mean --steps?"),
        (&["draw", "a", "cat"], "\"cat\" is one word too many"),
        (&["draw", "a cat", "--steps"], "--steps needs a value"),
        (&["draw", "a cat", "--steps", "many"], "--steps: \"many\" is not a whole number from 1 to 1000"),
        (&["draw", "a cat", "--guidance", "-3"], "--guidance: \"-3\" is not a number from 0 to 100"),
        (&["draw", "a cat", "--size", "99999x1"], "--size: \"99999x1\" is not a size"),
        (&["draw", "a cat", "--steps", "1", "--steps", "2"], "--steps is given twice"),
        (&["draw", "a cat", "--mask", "m.png"], "--mask means something only together with --init"),
        (&["draw", "a cat", "--grid", "colour=red"], "keys: steps, sampler"),
        (&["draw", "a cat", "--grid", "steps=1;seed=1;eta=1"], "one or two keys"),
        (&["draw", "a cat", "--save-run", "r", "--count", "2"], "--save-run is for one run"),
        (&["draw", "-o", "cat.png"], "say what to draw"),
    ];
    for (arguments, wanted) in cases {
        let said = danqing(arguments).say();
        assert_eq!(said.status, 2, "{arguments:?}: {}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains(wanted), "{arguments:?}: {}", said.err);
        assert!(said.err.lines().count() <= 2 && said.out.is_empty(), "{arguments:?}: {}{}", said.err, said.out);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_any_work() {
    for (output, wanted) in
        [("no/such/cat.png", "there is no folder no/such: make it"), ("cat.tga", "known endings: .png"), (".", "")]
    {
        let call = danqing(&["draw", "a cat", "-m", "nothing.safetensors", "-o", output]);
        let folder = call.folder.path().to_owned();
        let before = fs::read_dir(&folder).unwrap().count();
        let said = {
            let mut call = call;
            let output = call.command.output().unwrap();
            assert_eq!(fs::read_dir(&folder).unwrap().count(), before, "something was left");
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(said.starts_with("error: ") && said.contains(wanted), "{output}: {said}");
        assert!(!said.contains("nothing.safetensors"), "the model was looked at first: {said}");
    }
}

#[test]
fn missing_and_broken_models_are_named() {
    let said = danqing(&["draw", "a cat", "-m", "nothing.safetensors", "-o", "c.png"]).say();
    assert_eq!(said.status, 1);
    assert!(said.err.contains("there is no model \"nothing.safetensors\""), "{}", said.err);
    for (name, bytes) in
        [("m.safetensors", &b"\xff\xff\xff\xff\xff\xff\xff\xff{}"[..]), ("m.ckpt", b"PK\x03\x04broken")]
    {
        let said = danqing(&["draw", "a cat", "-m", name, "-o", "c.png"]).file(name, bytes).say();
        assert_eq!(said.status, 1, "{}", said.err);
        assert!(said.err.starts_with("error: "), "{}", said.err);
        let said = danqing(&["models", "."]).file(name, bytes).say();
        assert_eq!(said.status, 0, "{}", said.err);
        assert!(said.out.starts_with("m\n") && said.out.contains("does not load: "), "{}", said.out);
    }
}

#[test]
fn broken_pictures_are_refused_by_name() {
    for flags in [&["--init", "bad.png"][..], &["--like", "bad.png"]] {
        let arguments = [&["draw", "a cat", "-o", "c.png"][..], flags].concat();
        let said = danqing(&arguments).file("bad.png", b"\x89PNG\r\n\x1a\nbroken").say();
        assert_eq!(said.status, 1, "{}", said.err);
        assert!(said.err.contains("damaged PNG picture"), "{}", said.err);
    }
    let said = danqing(&["inspect", "bad.png"]).file("bad.png", b"hello").say();
    assert_eq!(said.status, 1);
    assert!(said.err.contains("not a picture"), "{}", said.err);
    let said = danqing(&["inspect", "gone.png"]).say();
    assert!(said.status == 1 && said.err.contains("gone.png"), "{}", said.err);
}

#[test]
fn inspect_reads_back_what_a_picture_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = picture(folder.path());
    let path = path.to_str().unwrap();
    let said = danqing(&["inspect", path]).say();
    assert_eq!(said.status, 0, "{}", said.err);
    for line in ["Prompt            two red cats", "Seed              42", "trainedAlgorithmicMedia"] {
        assert!(said.out.contains(line), "{line} is not in\n{}", said.out);
    }
    let said = danqing(&["inspect", path]).env("LANG", "zh_CN.UTF-8").say();
    assert!(said.out.contains("提示词            two red cats"), "{}", said.out);
    let said = danqing(&["inspect", "--json", path]).say();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["generation"]["seed"], 42);

    let whole = fs::read(path).unwrap();
    let cut = folder.path().join("cut.png");
    fs::write(&cut, &whole[..whole.len() - 20]).unwrap();
    let said = danqing(&["inspect", cut.to_str().unwrap()]).say();
    assert_eq!(said.status, 1);
    assert!(said.out.contains("two red cats") && said.err.contains("is not whole"), "{}{}", said.out, said.err);
}

#[test]
fn settings_files_are_checked() {
    let usual = ".config/danqing/settings.toml";
    let said = danqing(&["samplers"]).env("DANQING_CONFIG", "gone.toml").say();
    assert!(said.status == 2 && said.err.contains("gone.toml"), "{}", said.err);
    for (text, wanted) in [
        ("sampIer = \"euler\"", "did you mean \"sampler\"?"),
        ("steps = \"many\"", "steps: \"many\" is not a whole number"),
        ("steps = = 3", "cannot be read"),
    ] {
        let call = danqing(&["samplers"]);
        fs::create_dir_all(call.folder.path().join(usual).parent().unwrap()).unwrap();
        let said = call.file(usual, text.as_bytes()).say();
        assert_eq!(said.status, 2, "{text}");
        assert!(said.err.contains(wanted), "{text}: {}", said.err);
    }
    let said = danqing(&["samplers"]).env("DANQING_STEPS", "0").say();
    assert!(said.status == 2 && said.err.contains("DANQING_STEPS"), "{}", said.err);
}

#[test]
fn lists_name_what_there_is() {
    let said = danqing(&["samplers"]).say();
    assert!(said.out.contains("dpmpp_2m") && said.out.contains("karras"), "{}", said.out);
    let said = danqing(&["models", "gone"]).say();
    assert!(said.status == 1 && said.err.contains("gone"), "{}", said.err);
    let said = danqing(&["models", "--json"]).say();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json[0]["name"], "starter");
}

#[test]
fn the_reference_pages_are_what_the_program_prints() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    for page in ["commands", "samplers", "settings"] {
        let said = danqing(&["reference", page]).say();
        let written = fs::read_to_string(docs.join(format!("{page}.md"))).unwrap().replace("\r\n", "\n");
        assert!(written == said.out, "docs/reference/{page}.md is stale: run `cargo xtask gen`");
    }
}
